'use strict';
/* Every command and option of carpoolctl is in its help, in the completion, and in the manual, which is well formed. */
const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { ROOT, cleanEnvironment } = require('./harness');
const { PROGRAM } = require('./ctl');

const COMPLETION = path.join(ROOT, 'etc', 'completion', 'carpoolctl.bash');
const MANUAL = path.join(ROOT, 'etc', 'man', 'carpoolctl.1');
const env = cleanEnvironment();

const run = (...args) => execFileSync(PROGRAM, args, { env, encoding: 'utf8' });
const commands = JSON.parse(run('help', '--json')).commands.map(({ command, usage }) => ({
    command,
    group: command.split(' ')[0],
    options: usage.match(/--[a-z-]+/g) ?? [],
}));
const everywhere = ['--config', '--json', '--help', '--version'];

/* What bash would offer behind these words, the last of which is being typed. */
function complete(...words) {
    const script = `
        source "$1"; shift
        COMP_WORDS=(carpoolctl "$@"); COMP_CWORD=$#
        _carpoolctl
        printf '%s\\n' "\${COMPREPLY[@]}"`;
    const result = spawnSync('bash', ['-c', script, 'bash', COMPLETION, ...words], { env, encoding: 'utf8', cwd: ROOT });
    assert.equal(result.status, 0, result.stderr);
    assert.equal(result.stderr, '');
    return result.stdout.split('\n').filter(Boolean);
}

/* The manual as a reader has it, on one line. */
function manual() {
    const text = execFileSync('groff', ['-mandoc', '-Tascii', '-P-c', '-P-b', '-P-u', MANUAL], { encoding: 'utf8', env });
    return text.replace(/-\n\s*/g, '-').replace(/\s+/g, ' ');
}

describe('carpoolctl help', () => {
    test('has every command and option, as a whole and by groups', () => {
        assert.ok(commands.length >= 16);
        const all = run('--help');
        assert.equal(run('help'), all);
        for (const { command, group, options } of commands) {
            const text = run('help', group);
            for (const where of [all, text]) {
                assert.match(where, new RegExp(`^  ${command}( |$)`, 'm'), command);
                for (const option of options) assert.ok(where.includes(option), `${command} ${option}`);
            }
            assert.equal(run(group, '--help'), text);
        }
        for (const option of everywhere) assert.ok(all.includes(option), option);
        for (const line of all.split('\n')) assert.ok(line.length <= 100, line);
    });

    test('as JSON, too: of all or of one group, and the version', () => {
        const { commands: keys } = JSON.parse(run('help', 'key', '--json'));
        assert.deepEqual(keys, JSON.parse(run('key', '--help', '--json')).commands);
        assert.deepEqual(keys.map(({ command }) => command), commands.filter(({ group }) => group === 'key').map(({ command }) => command));
        assert.equal(run('--version'), `carpoolctl ${JSON.parse(run('--version', '--json')).version}\n`);
    });

    test('of what is none is a mistake', () => {
        for (const words of [['help', 'nonsense'], ['nonsense', '--help'], ['help', 'nonsense', '--json'], [], ['key'], ['key', 'nonsense'], ['backup']]) {
            const result = spawnSync(PROGRAM, words, { env, encoding: 'utf8' });
            assert.deepEqual([result.status, result.stdout], [2, ''], words.join(' '));
            assert.match(result.stderr, /^carpoolctl: [^\n]+\n$/);
        }
    });
});

describe('the completion for bash', () => {
    test('offers every command', () => {
        const groups = complete('');
        assert.deepEqual(complete('sta'), ['status']);
        for (const { command, group } of commands) {
            assert.ok(groups.includes(group), group);
            const [, name] = command.split(' ');
            if (name) assert.ok(complete(group, '').includes(name), command);
        }
    });

    test('offers every option of a command, those of all, and no other', () => {
        const known = new Set([...everywhere, ...commands.flatMap(({ options }) => options)]);
        for (const { command, options } of commands) {
            const offered = complete(...command.split(' '), '--');
            assert.deepEqual(
                offered.filter((option) => known.has(option)).sort(),
                [...new Set([...options, ...everywhere])].sort(),
                command,
            );
        }
        assert.deepEqual(complete('--json', 'key', 'rotate', 'shop', '--gr'), ['--grace'], 'whatever stands before');
        assert.deepEqual(complete('--config', '=', 'x.conf', 'drain', '--ti'), ['--timeout']);
        assert.deepEqual(complete('--config', 'x.conf', 'drain', '--ti'), ['--timeout']);
    });

    test('offers values, names and files', () => {
        assert.deepEqual(complete('key', 'create', '--role', ''), ['client', 'admin']);
        assert.deepEqual(complete('key', 'create', '--role', '=', 'ad'), ['admin']);
        assert.deepEqual(complete('export', '--priority', '='), ['high', 'medium', 'low']);
        assert.deepEqual(complete('export', '--from', ''), []);
        assert.ok(complete('settings', 'get', 'low_priority.').includes('low_priority.window_ms'));
        assert.ok(complete('settings', 'set', '').includes('model='));
        assert.ok(complete('restore', 'READ').includes('README.md'));
        assert.ok(complete('--config', 'READ').includes('README.md'));
    });
});

describe('the manual', () => {
    test('has every command and option', () => {
        const text = manual();
        for (const { command, options } of commands) {
            assert.ok(text.includes(` ${command} `), command);
            for (const option of options) assert.ok(text.includes(option), `${command} ${option}`);
        }
        for (const option of everywhere) assert.ok(text.includes(option), option);
        for (let status = 0; status <= 6; status++) assert.match(text, new RegExp(`EXIT STATUS.* ${status}\\b`));
    });

    test('is well formed', (t) => {
        const mandoc = spawnSync('mandoc', ['-Tlint', '-Wwarning', MANUAL], { encoding: 'utf8' });
        if (mandoc.error) t.diagnostic('mandoc is not there; groff alone has looked at it');
        else assert.equal(mandoc.stdout, '');
        const groff = spawnSync('groff', ['-mandoc', '-ww', '-Tutf8', '-z', MANUAL], { encoding: 'utf8', env });
        assert.deepEqual([groff.status, groff.stderr], [0, '']);
        assert.ok(fs.readFileSync(MANUAL, 'utf8').startsWith('.Dd '));
    });
});
