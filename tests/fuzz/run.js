// Runs the fuzz harnesses that make has built, two at a time, and closes with "N passed, N failed".
//   node tests/fuzz/run.js --seconds 60 [--match name] [--jobs 2]
// A harness passes when it has no finding and its rate is at least RATE_MIN. Seconds 0: only the corpora, each
// file once. What a run has learnt stays in build/fuzz/corpus and is where the next one begins.
'use strict';
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const os = require('node:os');
const { SEED } = require('../seed');

const RATE_MIN = 1000; // inputs a second
// Inputs for each second asked for: about what two cores do. It ends by number, not by time, and addresses are the same
// each time (libFuzzer learns from what is compared, pointers too): so the runs of a seed throw the same inputs. A slow
// machine may take TIME_MAX as long before it ends early.
const INPUTS = { core: 3000, fastcgi: 7000, files: 45000, provider: 3000, request: 9000, stream: 5000, text: 28000, wire: 50000 };
const TIME_MAX = 2;
const FIXED = ['setarch', '-R'];
const WAITS_MAX = 0.1; // an input: a harness that sleeps is slow, whatever its processor time says
const MAX_LEN = { request: 4096, fastcgi: 4096, provider: 4096, wire: 4096, core: 2048, conf: 2048 };

const root = path.join(__dirname, '..', '..');
const build = path.join(root, 'build', 'fuzz');
const findings = path.join(build, 'findings');

function options() {
    const o = { seconds: 60, match: '', jobs: Math.min(2, os.cpus().length) };
    for (let i = 2; i + 1 < process.argv.length; i += 2) {
        const name = process.argv[i].replace(/^--/, '');
        if (!(name in o)) throw new Error(`There is no option ${process.argv[i]}.`);
        o[name] = name === 'match' ? process.argv[i + 1] : Number(process.argv[i + 1]);
    }
    if (!(o.seconds >= 0)) throw new Error('--seconds must be a number.');
    return o;
}

const names = (match) =>
    fs
        .readdirSync(__dirname)
        .map((file) => /^fuzz_(\w+)\.c$/.exec(file)?.[1])
        .filter((name) => name && name.includes(match))
        .sort();

const files = (dir) => (fs.existsSync(dir) ? fs.readdirSync(dir).map((file) => path.join(dir, file)) : []);

function run(program, args, limitS) {
    return new Promise((resolve) => {
        const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
        const timer = setTimeout(() => child.kill('SIGKILL'), limitS * 1000);
        let said = '';
        // The beginning and the end are of interest; in between it only counts.
        child.stderr.on('data', (bytes) => {
            said += bytes;
            if (said.length > 400000) said = said.slice(0, 2000) + said.slice(-200000);
        });
        child.on('error', (e) => resolve({ status: String(e), said }));
        child.on('close', (code, signal) => {
            clearTimeout(timer);
            resolve({ status: code ?? signal, said });
        });
    });
}

// What goes before a harness; nothing where a container forbids it, and then a seed is only a seed.
const fixed = spawnSync(FIXED[0], [...FIXED.slice(1), 'true']).status === 0 ? FIXED : [];

const number = (said, pattern) => Number(pattern.exec(said)?.[1] ?? NaN);

// What of the output a person wants to see: from the first sign of trouble on, without libFuzzer's bytes.
function trouble(said) {
    const lines = said.split('\n');
    const at = lines.findIndex((l) => /broken:|runtime error|ERROR: |Assertion|panic/.test(l));
    return lines
        .slice(at < 0 ? -30 : at, at < 0 ? undefined : at + 40)
        .filter((l) => !/^0x[0-9a-f]{2},|^Base64|NOTE: libFuzzer|Combine libFuzzer/.test(l))
        .map((l) => '    ' + l.slice(0, 300))
        .join('\n');
}

function replayOf(name, said) {
    const unit = /Test unit written to (\S+)/.exec(said)?.[1];
    const running = [...said.matchAll(/^Running: (\S+)$/gm)].pop()?.[1];
    const file = unit ?? running;
    return file ? `    replay: build/fuzz/fuzz/${name} ${path.relative(root, path.resolve(root, file))}` : '';
}

function failed(name, why, result) {
    console.log(`  FAIL  ${name}: ${why}\n${trouble(result.said)}\n${replayOf(name, result.said)}`);
    return false;
}

// Every file of the corpora once, in the same order each time: what was found once stays found.
async function replay(name) {
    const inputs = files(path.join(__dirname, 'corpus', name)).sort();
    if (!inputs.length) return failed(name, 'it has no corpus', { said: '' });
    const result = await run(path.join(build, 'fuzz', name), ['-timeout=20', ...inputs], 300);
    if (result.status !== 0) return failed(name, `ended with ${result.status}`, result);
    console.log(`  ok    ${name}: ${inputs.length} inputs`);
    return true;
}

async function fuzz(name, seconds) {
    const learnt = path.join(build, 'corpus', name);
    const dictionary = path.join(__dirname, `${name}.dict`);
    fs.mkdirSync(learnt, { recursive: true });
    fs.mkdirSync(findings, { recursive: true });
    const args = [
        `-seed=${SEED}`, `-runs=${INPUTS[name] * seconds}`, `-max_total_time=${TIME_MAX * seconds}`, '-reload=0', `-max_len=${MAX_LEN[name] ?? 4096}`, '-timeout=20', '-rss_limit_mb=2048',
        '-print_final_stats=1', `-artifact_prefix=${findings}/${name}-`, learnt, path.join(__dirname, 'corpus', name),
    ];
    /* How often a branch is taken says how much time passed in the core's world, so almost every input would look new, and half of
     * the time went into that. */
    if (name === 'core') args.unshift('-use_counters=0');
    if (fs.existsSync(dictionary)) args.unshift(`-dict=${dictionary}`);
    const [program, ...rest] = [...fixed, path.join(build, 'fuzz', name), ...args];
    const result = await run(program, rest, TIME_MAX * seconds + 120);
    const { said } = result;
    const units = number(said, /number_of_executed_units: (\d+)/);
    const cpuMs = number(said, /fuzz: (\d+) ms of processor time/);
    const waits = number(said, /processor time, (\d+) waits/);
    const wall = number(said, /average_exec_per_sec: *(\d+)/);
    const edges = [...said.matchAll(/ cov: (\d+)/g)].pop()?.[1];
    const fresh = number(said, /new_units_added: *(\d+)/);
    if (result.status !== 0) return failed(name, `ended with ${result.status}`, result);
    // By the clock; or, on a machine that others use too, by the processor time it got.
    const byCpu = waits / units < WAITS_MAX ? units / (cpuMs / 1000) : 0;
    const figures = `${wall} inputs/s (${Math.round(byCpu)} a second of processor time), ${units} in all, ` +
        `${edges} edges, ${fresh} new units`;
    if (!(Math.max(wall, byCpu) >= RATE_MIN)) return failed(name, `${figures}: less than ${RATE_MIN} a second`, { said: '' });
    console.log(`  ok    ${name}: ${figures}`);
    return true;
}

async function main() {
    const o = options();
    const queue = names(o.match);
    if (o.seconds) console.log(`fuzz: SEED=${SEED}`);
    let passed = 0;
    let bad = 0;
    if (!queue.length) bad++;
    const work = async () => {
        for (let name; (name = queue.shift()); ) {
            if (await (o.seconds ? replay(name).then((good) => good && fuzz(name, o.seconds)) : replay(name))) passed++;
            else bad++;
        }
    };
    await Promise.all(Array.from({ length: o.jobs }, work));
    console.log(`${passed} passed, ${bad} failed`);
    process.exitCode = bad ? 1 : 0;
}

main();
