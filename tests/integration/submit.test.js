'use strict';
/* carpoolctl submit: files of prompts, in all formats, interrupted, refused, and gone on with. */
const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { describe } = require('node:test');
const { ROOT, STRETCH, isAlive, sleep, until, useStack } = require('./harness');
const { ctl, makeKey, PROGRAM } = require('./ctl');

const env = {
    CARPOOL_BATCH_LOW_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20',
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_PROVIDER_TIMEOUT_MS: '4000', /* so that a call that hangs does not keep a coordinator from leaving */
};

let files = 0;
function fileOf(stack, lines, end = 'jsonl') {
    const file = path.join(stack.dir, `prompts-${++files}.${end}`);
    const text = typeof lines === 'string' ? lines : lines.map((l) => `${JSON.stringify(l)}\n`).join('');
    fs.writeFileSync(file, text);
    return { file, out: `${file}.out` };
}
const prompts = (n, word = 'prompt') => Array.from({ length: n }, (_, i) => ({ prompt: `${word} ${i}` }));
const linesOf = (file) => fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l));

async function submit(stack, args, options) {
    const result = await ctl(stack, ['submit', ...args], options);
    assert.equal(result.signal, null, result.err);
    return result;
}

/* What reached the provider, prompt by prompt. */
const askedPrompts = (stack) => stack.fake.calls.flatMap((call) => call.members.map((m) => m.prompt));

/* One that is to be stopped on its way. */
function start(stack, args) {
    const child = spawn(PROGRAM, ['submit', ...args], {
        cwd: ROOT,
        env: stack.environment(),
        stdio: ['ignore', 'ignore', 'pipe'],
    });
    const run = { child, err: '' };
    child.stderr.on('data', (bytes) => (run.err += bytes));
    run.ended = new Promise((resolve) => child.on('close', (status, signal) => resolve({ status, signal })));
    return run;
}
const answersIn = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').length - 1 : 0);

describe('carpoolctl submit', () => {
    const s = useStack({ provider: 'openai', env });

    s.test('what lies beside the file of answers stays as it is', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(3, 'beside'));
        assert.equal((await submit(stack, [file, '--output', out])).status, 0);
        /* A line that is dropped, so that the file is written anew. */
        fs.appendFileSync(out, '{"line":9,"request_id":"x","error":{}}\n');
        const bystander = `${out}.bystander`, left = `${out}.carpool-new`;
        fs.writeFileSync(bystander, 'theirs');
        fs.writeFileSync(`${out}.new`, 'theirs');
        fs.symlinkSync(bystander, left); /* the name of what a killed run leaves */
        assert.equal((await submit(stack, [file, '--output', out])).status, 0);
        assert.equal(linesOf(out).length, 3);
        assert.ok(fs.lstatSync(out).isFile());
        assert.equal(fs.readFileSync(bystander, 'utf8'), 'theirs');
        assert.equal(fs.readFileSync(`${out}.new`, 'utf8'), 'theirs');
        assert.ok(!fs.existsSync(left));
    });

    s.test('answers each line, four to a call, with the line it belongs to', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(40));
        const window = async (window_ms) => assert.equal((await s.put('/v1/settings', { low_priority: { window_ms } })).status, 200);
        await window(30000); /* each call waits until it has its four */
        const { status, err } = await submit(stack, [file, '--output', out]);
        await window(20);
        assert.equal(status, 0, err);
        const answers = linesOf(out);
        assert.equal(answers.length, 40);
        for (const a of answers) {
            assert.equal(a.text, `Answer to: prompt ${a.line - 1}`);
            assert.equal(a.priority, 'LOW');
            assert.match(a.request_id, /^submit-[0-9a-f]{32}$/);
        }
        assert.equal(new Set(answers.map((a) => a.request_id)).size, 40);
        assert.equal(stack.fake.calls.length, 10);
        assert.match(err, /^40 answered, 0 failed, 10 calls and 30 saved/m);
        assert.equal(fs.statSync(out).mode & 0o777, 0o600);
        const stored = await s.get(`/v1/requests/${answers[0].request_id}`);
        assert.equal(stored.json.response.text, answers[0].text);
    });

    s.test('what is answered is not asked again, and what is missing in the file is replayed', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(12, 'again'));
        assert.equal((await submit(stack, [file, '--output', out])).status, 0);
        const first = fs.readFileSync(out, 'utf8');
        const calls = stack.fake.calls.length;
        assert.equal((await submit(stack, [file, '--output', out])).status, 0);
        assert.equal(fs.readFileSync(out, 'utf8'), first, 'as it was');
        /* One line lost, one cut short, as by a kill in the middle of a write. */
        const kept = first.split('\n').slice(0, 10);
        fs.writeFileSync(out, `${kept.join('\n')}\n${first.split('\n')[10].slice(0, 40)}`);
        const { status, json } = await submit(stack, [file, '--output', out, '--json']);
        assert.equal(status, 0);
        assert.equal(json.replayed, 2);
        assert.equal(json.answered_before, 10);
        assert.equal(json.calls, 0);
        assert.deepEqual(linesOf(out).map((a) => a.line).sort((a, b) => a - b), [...Array(12).keys()].map((i) => i + 1));
        assert.equal(stack.fake.calls.length, calls, 'nothing was asked again');
        /* To standard output all of it is replayed. */
        const piped = await submit(stack, [file]);
        assert.equal(piped.out.split('\n').filter(Boolean).length, 12);
        assert.ok(piped.out.split('\n').filter(Boolean).every((l) => JSON.parse(l).replayed));
        assert.equal(stack.fake.calls.length, calls);
        /* Lines put in front change no id; a new prefix asks anew. */
        fs.writeFileSync(file, `{"prompt":"in front"}\n${fs.readFileSync(file, 'utf8')}`);
        await submit(stack, [file, '--output', out]);
        assert.deepEqual(askedPrompts(stack).filter((p) => p === 'in front').length, 1);
        assert.equal(stack.fake.calls.length, calls + 1);
        await submit(stack, [file, '--output', `${out}2`, '--id-prefix', 'second']);
        assert.equal(askedPrompts(stack).filter((p) => p === 'again 3').length, 2);
    });

    s.test('CSV, text, standard input, and what lines say themselves', async (t, stack) => {
        const csv = fileOf(
            stack,
            'request_id,prompt,priority,metadata\nmine-1,"a, ""b""\nc",high,"{""k"":1}"\n,plain,,\n',
            'csv',
        );
        const { out: csvOut } = await submit(stack, [csv.file, '--username', 'carl', '--priority', 'medium']);
        const [a, b] = csvOut.split('\n').filter(Boolean).map((l) => JSON.parse(l)).sort((x, y) => x.line - y.line);
        assert.equal(a.request_id, 'mine-1');
        assert.equal(a.text, 'Answer to: a, "b"\nc');
        assert.deepEqual([a.priority, a.metadata, a.username, a.line], ['HIGH', { k: 1 }, 'carl', 2]);
        assert.deepEqual([b.priority, b.line], ['MEDIUM', 4]);
        const text = await submit(stack, ['-', '--format', 'text', '--priority', 'HIGH'], { input: 'one\n\ntwo\none' });
        const lines = text.out.split('\n').filter(Boolean).map((l) => JSON.parse(l));
        assert.deepEqual(lines.map((l) => l.line).sort(), [1, 3, 4]);
        assert.equal(new Set(lines.map((l) => l.request_id)).size, 3, 'the same prompt twice is asked twice');
    });

    s.test('lines that are wrong are told, and the others answered', async (t, stack) => {
        const { file, out } = fileOf(
            stack,
            '{"prompt":"good"}\n{"prompt":""}\nnonsense\n{"prompt":"x","tokens":1}\n{"prompt":"a","request_id":"twice"}\n' +
                '{"prompt":"b","request_id":"twice"}\n',
        );
        const { status, err } = await submit(stack, [file, '--output', out]);
        assert.equal(status, 1);
        assert.match(err, /4 lines have an error/);
        const wrong = linesOf(out).filter((l) => l.error);
        assert.deepEqual(wrong.map((l) => l.line).sort(), [2, 3, 4, 6]);
        assert.ok(wrong.every((l) => l.error.error_code === 'INVALID_LINE' && l.error.status === 400));
        /* Corrected, only they are asked, and the errors are gone from the file. */
        fs.writeFileSync(
            file,
            '{"prompt":"good"}\n{"prompt":"2"}\n{"prompt":"3"}\n{"prompt":"x"}\n{"prompt":"a","request_id":"twice"}\n' +
                '{"prompt":"b","request_id":"once"}\n',
        );
        assert.equal((await submit(stack, [file, '--output', out])).status, 0);
        assert.equal(linesOf(out).length, 6);
        assert.deepEqual(askedPrompts(stack).sort(), ['2', '3', 'a', 'b', 'good', 'x']);
    });

    s.test('a call whose end is not known is told with what to do, and never sent again', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(8, 'cut'));
        stack.fake.when((call) => call.members.some((m) => m.prompt === 'cut 5'), 'close_before');
        const first = await submit(stack, [file, '--output', out]);
        assert.equal(first.status, 1);
        const wrong = linesOf(out).filter((l) => l.error);
        assert.ok(wrong.length >= 1 && wrong.length <= 4, 'those of that call');
        assert.ok(wrong.every((l) => l.error.status === 424 && /another request_id/.test(l.error.hint)));
        const asked = askedPrompts(stack).length;
        stack.fake.reset();
        assert.equal((await submit(stack, [file, '--output', out])).status, 1);
        assert.equal(askedPrompts(stack).length, 0, `after ${asked}`);
        assert.equal(linesOf(out).length, 8, 'one line each, also of those that failed twice');
    });

    s.test('files that are not ours are left alone, and two runs do not share one', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(2, 'mine'));
        for (const text of ['my notes', 'my notes\n', '{"a":1}\n']) {
            fs.writeFileSync(out, text);
            const { status, err } = await submit(stack, [file, '--output', out]);
            assert.equal(status, 1);
            assert.match(err, /holds other things/);
            assert.equal(fs.readFileSync(out, 'utf8'), text);
        }
        fs.rmSync(out);
        stack.fake.when(() => true, 'hang');
        const run = start(stack, [file, '--output', out]);
        await until('it asked', () => stack.fake.calls.length > 0);
        assert.match((await submit(stack, [file, '--output', out])).err, /Another run writes/);
        run.child.kill('SIGKILL');
        await run.ended;
        assert.equal((await submit(stack, ['/nowhere/x', '--output', out])).status, 1);
        assert.equal((await submit(stack, [])).status, 2);
        assert.equal((await submit(stack, [file, '--concurrency', '0'])).status, 2);
        assert.equal((await submit(stack, [file, '--id-prefix', 'a b'])).status, 2);
    });

    s.test('Ctrl-C ends it within a second, and says how to go on', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(50, 'stop'));
        stack.fake.when((call) => call.members.some((m) => m.prompt === 'stop 40'), 'hang');
        const run = start(stack, [file, '--output', out]);
        await until('most is answered', () => answersIn(out) >= 30, 15000);
        const at = Date.now();
        run.child.kill('SIGINT');
        const { status } = await run.ended;
        assert.ok(Date.now() - at < 1000 * STRETCH, `${Date.now() - at} ms`);
        assert.equal(status, 7);
        assert.match(run.err, /run the same command again/);
        /* At once again: the coordinator of before is still leaving, for the call that hangs. */
        stack.fake.reset();
        const again = await submit(stack, [file, '--output', out]);
        const lines = linesOf(out);
        assert.equal(lines.length, 50, again.err);
        const unknown = lines.filter((l) => l.error);
        assert.ok(unknown.length <= 4 && unknown.every((l) => l.error.status === 424), 'those of the call that hung');
        assert.deepEqual(askedPrompts(stack).filter((p) => unknown.some((l) => p === `stop ${l.line - 1}`)), []);
    });
});

describe('carpoolctl submit to others', () => {
    const s = useStack({ env });

    s.test('nobody who reads, and nowhere to write to', async (t, stack) => {
        const { file } = fileOf(stack, prompts(5000, 'unread '.repeat(20)));
        const child = spawn(PROGRAM, ['submit', file], {
            cwd: ROOT,
            env: stack.environment(),
            stdio: ['ignore', 'pipe', 'pipe'],
        });
        let err = '';
        child.stderr.on('data', (bytes) => (err += bytes));
        const ended = new Promise((resolve) => child.on('exit', (status) => resolve(status)));
        await until('it writes', () => child.stdout.readableLength > 0 || child.stdout.read(1), 20000);
        await sleep(1500);
        assert.equal(child.exitCode, null, 'it waits for its reader');
        const at = Date.now();
        child.kill('SIGINT');
        assert.equal(await ended, 7, err);
        assert.ok(Date.now() - at < 1000 * STRETCH);
        child.stdout.destroy();
        const shut = fs.openSync('/dev/null', 'r');
        const refused = await submit(stack, [file], { stdout: shut });
        fs.closeSync(shut);
        assert.equal(refused.status, 1);
        assert.match(refused.err, /answers cannot be written/);
    });

    s.test('on a terminal it draws a bar, and takes it away', (t, stack) => {
        const { file, out } = fileOf(stack, prompts(400, 'drawn'));
        const command = `${PROGRAM} submit ${file} --output ${out}`;
        const { status, stdout, error } = spawnSync('script', ['-qefc', command, '/dev/null'], {
            cwd: ROOT,
            env: stack.environment(),
            input: '',
            encoding: 'utf8',
            timeout: 60000 * STRETCH,
        });
        if (error?.code === 'ENOENT') return t.skip('script(1) is not there to make a terminal');
        assert.equal(status, 0, stdout);
        assert.match(stdout, /\r\x1b\[K\[#* *\] \d+\/400 \d+%/);
        assert.match(stdout, /\r\x1b\[K400 answered, 0 failed, \d+ calls and \d+ saved, in 0:\d\d\r\n$/);
        assert.equal(answersIn(out), 400);
    });
});

describe('carpoolctl submit on its own', () => {
    const s = useStack({ provider: 'openai', env: { ...env, CARPOOL_LIMITS_QUEUE_MAX: '8' }, conf: '[prices]\nfake-model = 1 2\n' });

    s.test('a full queue makes it wait, not fail', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(60, 'busy'));
        const { status, err } = await submit(stack, [file, '--output', out, '--concurrency', '60']);
        assert.equal(status, 0, err);
        assert.equal(linesOf(out).filter((l) => l.text).length, 60);
        assert.equal(new Set(askedPrompts(stack)).size, askedPrompts(stack).length);
    });

    s.test('a coordinator that dies is started again, and nothing is asked twice', async (t, stack) => {
        const n = 400;
        const { file, out } = fileOf(stack, prompts(n, 'killed'));
        const run = start(stack, [file, '--output', out, '--concurrency', '8']);
        for (const part of [60, 180]) {
            await until('some are answered', () => answersIn(out) >= part, 20000);
            const pid = stack.coordinatorPid();
            process.kill(pid, 'SIGKILL');
            await until('it is dead', () => !isAlive(pid));
        }
        const { status } = await run.ended;
        const lines = linesOf(out);
        assert.equal(lines.length, n);
        const unknown = lines.filter((l) => l.error);
        assert.ok(unknown.every((l) => l.error.status === 424), JSON.stringify(unknown[0]));
        assert.equal(status, unknown.length ? 1 : 0, run.err);
        const asked = askedPrompts(stack);
        assert.equal(new Set(asked).size, asked.length, 'no prompt was sent twice');
        assert.ok(unknown.length <= 16, `${unknown.length} unknown`);
    });

    s.test('a limit of requests is waited for', async (t, stack) => {
        const { key } = await makeKey(stack, '--label', 'slow', '--requests-per-minute', '240');
        stack.secrets.push(key);
        const { file, out } = fileOf(stack, prompts(246, 'limited'));
        const { status, err } = await submit(stack, [file, '--output', out, '--key', 'slow', '--concurrency', '4']);
        assert.equal(status, 0, err);
        assert.equal(linesOf(out).length, 246);
    });

    s.test('where no coordinator can be started it says so at once', async (t, stack) => {
        const { file, out } = fileOf(stack, prompts(2, 'nobody'));
        const dir = path.join(stack.dir, 'other');
        fs.mkdirSync(dir, { mode: 0o700 });
        const at = { CARPOOL_STORAGE_DIR: dir, CARPOOL_COORDINATOR_AUTOSTART: 'off' };
        const { status, err } = await submit(stack, [file, '--output', out], { env: at });
        assert.equal(status, 1);
        assert.match(err, /No coordinator listens/);
        assert.equal(answersIn(out), 0);
    });

    s.test('as a key: its limits and its budget count', async (t, stack) => {
        const { key, id } = await makeKey(stack, '--label', 'batch', '--requests-per-minute', '600', '--budget', '5');
        stack.secrets.push(key);
        const { file, out } = fileOf(stack, prompts(3, 'keyed'));
        assert.equal((await submit(stack, [file, '--output', out, '--key', 'nobody'])).status, 3);
        assert.equal((await submit(stack, [file, '--output', out, '--key', id])).status, 0);
        const [{ request_id: requestId }] = linesOf(out);
        const as = { headers: { 'X-API-Key': key } };
        assert.equal((await s.get(`/v1/requests/${requestId}`, as)).status, 200, 'it is the request of that key');
        await ctl(stack, ['key', 'set', 'batch', '--budget', '0.000001']);
        const more = fileOf(stack, prompts(3, 'dear'));
        const spent = await submit(stack, [more.file, '--output', more.out, '--key', 'batch']);
        assert.equal(spent.status, 1);
        assert.match(spent.err, /budget/);
        /* Revoked while it runs: what is open ends, and no more is asked. */
        await ctl(stack, ['key', 'set', 'batch', '--budget', '0', '--requests-per-minute', '0']);
        stack.fake.when(() => true, 'hang');
        const long = fileOf(stack, prompts(4, 'held'));
        const run = start(stack, [long.file, '--output', long.out, '--key', 'batch', '--concurrency', '1']);
        await until('it asked', () => stack.fake.calls.some((call) => call.members.some((m) => m.prompt === 'held 0')));
        await ctl(stack, ['key', 'revoke', 'batch']);
        assert.equal((await run.ended).status, 1);
        assert.match(run.err, /revoked/);
        assert.ok(!askedPrompts(stack).includes('held 1'), 'no more was asked');
        stack.fake.reset();
        const gone = await submit(stack, [file, '--output', out, '--key', 'batch']);
        assert.equal(gone.status, 1);
        assert.match(gone.err, /revoked/);
    });
});

describe('ten thousand prompts', () => {
    const s = useStack({ provider: 'openai', env });

    s.test('interrupted twice they end with an answer each and no call made twice', async (t, stack) => {
        const n = 10000 / (STRETCH * STRETCH);
        const { file, out } = fileOf(stack, prompts(n, 'many'));
        for (const [signal, part] of [
            ['SIGINT', 0.3],
            ['SIGKILL', 0.6],
        ]) {
            const run = start(stack, [file, '--output', out]);
            await until(`${part} of them are answered`, () => answersIn(out) >= n * part, 60000);
            run.child.kill(signal);
            const { status } = await run.ended;
            assert.equal(status, signal === 'SIGINT' ? 7 : null);
            assert.ok(answersIn(out) < n, 'before its end');
            await sleep(20);
        }
        const { status, json, err } = await submit(stack, [file, '--output', out, '--json']);
        assert.equal(status, 0, err);
        const lines = linesOf(out);
        assert.equal(lines.length, n);
        for (const l of lines) assert.equal(l.text, `Answer to: many ${l.line - 1}`);
        assert.equal(new Set(lines.map((l) => l.line)).size, n);
        const asked = askedPrompts(stack);
        assert.equal(asked.length, n, 'each prompt went out once');
        assert.equal(new Set(asked).size, n);
        t.diagnostic(`${json.answered_before} before the last run, ${json.replayed} replayed in it`);
    });
});
