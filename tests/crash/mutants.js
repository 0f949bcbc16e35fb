'use strict';
/*
 * make mutants: breaks one promise in the code at a time, in a copy of the sources, and wants the test that is there
 * for it to notice. A test that a mutant survives proves nothing; so does a mutant that no longer fits the code, and
 * that fails, too.
 *
 *   MUTANT=name    only those whose name contains it
 *   LANES=2        copies that are worked on at a time
 */
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { inParallel, BUILD, ROOT } = require('../integration/harness');

const LIMIT_MS = 120000;

const node = (...args) => ['node', ...args];
const powercut = (env) => ({ run: node('tests/crash/powercut.js'), env: { SEED: '1', ...env } });
const points = (names) => ({ run: node('tests/crash/points.js'), env: { POINTS: names, STOP: '1', LANES: '1' } });
const probe = (name) => ({ run: node('tests/crash/probes.js', name) });
const scenario = (...names) => ({ run: ['build/release/tests/scenario', ...names.map((n) => `tests/scenario/${n}.txt`)] });

/* edits: [file, text that stands there once, what takes its place]; sees: how the check says that it noticed. */
const MUTANTS = [
    {
        name: 'commits are not synced',
        edits: [['lib/store/store.c', 'MDB_NOTLS | (', 'MDB_NOTLS | MDB_NOSYNC | (']],
        check: powercut({ ROUNDS: '5' }),
        /* Torn pages may leave a store that nobody can open. */
        sees: /^I1 |not served again|the service is ready: not within/m,
    },
    {
        name: 'the name of the store is not synced',
        edits: [['lib/store/store.c', 'rc = dir_sync(dir, e);', 'rc = 0;']],
        check: powercut({ ROUNDS: '2', KEYS: '0' }),
        sees: /^I1 /m,
    },
    {
        name: 'the provider key is not synced',
        edits: [['fcgi_app/coordinator/keyfile.c', ' || fsync(fd) < 0', '']],
        check: powercut({ ROUNDS: '20', KEYS: 'many' }),
        sees: /provider\.key|was told to be saved/,
    },
    {
        name: 'the name of the provider key is not synced',
        edits: [['fcgi_app/coordinator/keyfile.c', 'return dir_sync(dir, e);', 'return 0;']],
        check: powercut({ ROUNDS: '60', KEYS: 'many' }),
        sees: /was told to be saved/,
    },
    {
        name: 'no epoch check in a write',
        edits: [['lib/store/store_write.c', 'if (rc || !epoch || stored == epoch)', 'if (rc || !epoch || stored)']],
        check: { run: node('--test', 'tests/integration/fence.test.js') },
        sees: /^# fail [1-9]/m,
    },
    {
        name: 'a done record answers another body (worker)',
        edits: [
            [
                'fcgi_app/worker/prompt.c',
                'memcmp(record->fingerprint, m->fingerprint, REQUEST_KEY_SIZE) != 0',
                'memcmp(record->fingerprint, m->fingerprint, 0) != 0',
            ],
        ],
        check: probe('reuse'),
        sees: /^I3 /m,
    },
    {
        name: 'who leaves a stream goes on paying for it',
        edits: [['fcgi_app/worker/prompt.c', '        link_cancel(&x->link, h->id);\n', '        r = LINK_CLIENT_GONE;\n']],
        check: { run: node('--test', '--test-name-pattern=who leaves', 'tests/integration/openai_stream.test.js') },
        sees: /^# fail [1-9]/m,
    },
    {
        name: 'who leaves a stream goes on paying for it (coordinator)',
        edits: [['fcgi_app/coordinator/stream.c', '    if (stream_is_given_up(call)) {', '    if (!call->batch) {']],
        target: 'build/release/tests/scenario',
        check: scenario('stream_leave'),
        sees: /[1-9]\d* failed/,
    },
    {
        name: 'a stream that broke off says that it is done',
        edits: [['fcgi_app/worker/openai_stream.c', '        put_error(x);\n        return;\n', '        put_error(x);\n        include_usage = false;\n']],
        check: { run: node('--test', '--test-name-pattern=goes wrong later', 'tests/integration/openai_stream.test.js') },
        sees: /^# fail [1-9]/m,
    },
    {
        name: 'SDKs ask again for what may have been charged',
        edits: [['fcgi_app/worker/openai_error.c', 'return r->status == 424 || r->status == 500 ||', 'return r->status == 500 ||']],
        check: { run: node('--test', '--test-name-pattern=with the provider', 'tests/integration/openai.test.js') },
        sees: /^# fail [1-9]/m,
    },
    {
        name: 'another body joins what runs (coordinator)',
        edits: [
            [
                'fcgi_app/coordinator/intake.c',
                'if (memcmp(running->submit.fingerprint, s->fingerprint, REQUEST_KEY_SIZE) != 0)',
                'if (memcmp(running->submit.fingerprint, s->fingerprint, 0) != 0)',
            ],
        ],
        check: probe('reuse'),
        sees: /^I3 /m,
    },
    {
        name: 'a done record answers another body (coordinator)',
        edits: [
            [
                'fcgi_app/coordinator/intake.c',
                'if (memcmp(record->fingerprint, s->fingerprint, REQUEST_KEY_SIZE) != 0)',
                'if (memcmp(record->fingerprint, s->fingerprint, 0) != 0)',
            ],
        ],
        target: 'build/release/tests/scenario',
        check: scenario('duplicates'),
        sees: /[1-9]\d* failed/,
    },
    {
        name: 'libcurl may send a call again',
        edits: [
            [
                'fcgi_app/coordinator/upstream_transfer.c',
                '    (void)arg;\n    (void)offset;\n    (void)origin;\n    return CURL_SEEKFUNC_FAIL;',
                '    (void)origin;\n    ((struct transfer *)arg)->sent = (size_t)offset;\n    return CURL_SEEKFUNC_OK;',
            ],
            [
                'fcgi_app/coordinator/upstream_transfer.c',
                '    curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, refuse_seek);\n',
                '    curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, refuse_seek);\n    curl_easy_setopt(c, CURLOPT_SEEKDATA, t);\n',
            ],
        ],
        check: probe('resend'),
        sees: /^I2 /m,
    },
    {
        name: 'libcurl holds the body of a call and may send it again',
        edits: [
            [
                'fcgi_app/coordinator/upstream_transfer.c',
                '    curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, refuse_seek);\n',
                '    (void)refuse_seek;\n    curl_easy_setopt(c, CURLOPT_POSTFIELDS, request->body.data);\n',
            ],
        ],
        check: probe('resend'),
        sees: /^I2 /m,
    },
    {
        name: 'answers are told before they are stored',
        edits: [
            [
                'fcgi_app/coordinator/outcome.c',
                '    s->op->queued_us = now_us;\n',
                '    s->op->queued_us = now_us;\n    for (size_t i = 0; i < s->n; i++)\n        job_tell(c, s->jobs[i]);\n',
            ],
        ],
        check: points('run:commit:fdatasync:'),
        sees: /^ *I1 /m,
    },
    {
        name: 'calls are sent before they are recorded',
        edits: [
            [
                'fcgi_app/coordinator/dispatch.c',
                '    struct departure *d = op->owner;\n',
                '    struct departure *d = op->owner;\n    (void)c;\n    (void)now_us;\n    (void)retract;\n    d->n = 0;\n',
            ],
            [
                'fcgi_app/coordinator/dispatch.c',
                '            r++;\n        }\n',
                '            j->recorded = true;\n            r++;\n        }\n        send_call(c, calls[i], now_us);\n',
            ],
        ],
        check: points('run:commit:fdatasync:'),
        sees: /^ *I2 /m,
    },
    {
        name: 'repairs are sent before they are recorded',
        edits: [
            [
                'fcgi_app/coordinator/dispatch.c',
                '        dispatch_go(c, call, now_us);\n    }\n}\n\nvoid dispatch_pump',
                '        if (encode(c, call, now_us)) {\n            call_take_slot(c, call, CALL_RECORDING, now_us);\n            send_call(c, call, now_us);\n        }\n    }\n}\n\nvoid dispatch_pump',
            ],
        ],
        check: points('run:commit:fdatasync:'),
        sees: /^ *I2 /m,
    },
    {
        name: 'what was under way at a crash runs again',
        edits: [
            [
                'fcgi_app/coordinator/intake.c',
                'if (c->conf->idempotency.on_unknown == ON_UNKNOWN_RETRY)\n            return false;',
                'if (c->conf->idempotency.on_unknown != ON_UNKNOWN_RETRY)\n            return false;',
            ],
            ['fcgi_app/worker/prompt.c', 'idempotency.on_unknown == ON_UNKNOWN_RETRY', 'idempotency.on_unknown != ON_UNKNOWN_RETRY'],
        ],
        check: points('run:commit:fdatasync:'),
        sees: /^ *I2 /m,
    },
];

/* The sources and what was built of them, with their times, so that make compiles only what a mutant touches. */
function makeCopy() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-mutants-'));
    const files = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard'], { cwd: ROOT }).toString().split('\0');
    const present = files.filter((file) => file && fs.existsSync(path.join(ROOT, file)));
    execFileSync('xargs', ['-0', 'cp', '-a', '--parents', '-t', dir], { cwd: ROOT, input: present.join('\0') });
    fs.mkdirSync(path.join(dir, 'build'));
    execFileSync('cp', ['-a', BUILD, path.join(dir, 'build', 'release')]);
    return dir;
}

function mutate(dir, edits) {
    for (const [file, from, to] of edits) {
        const text = fs.readFileSync(path.join(dir, file), 'utf8');
        const times = text.split(from).length - 1;
        if (times !== 1) throw new Error(`it no longer fits: ${file} has ${times} times "${from}"`);
        fs.writeFileSync(path.join(dir, file), text.replace(from, () => to));
    }
}

function restore(dir, edits) {
    for (const [file] of edits) fs.writeFileSync(path.join(dir, file), fs.readFileSync(path.join(ROOT, file)));
}

/* {code, out}; what runs too long is ended and has not noticed anything. */
function runIn(dir, [program, ...args], env = {}) {
    return new Promise((resolve, reject) => {
        const { POINTS, ROUNDS, SEED, NODE_TEST_CONTEXT, MAKEFLAGS, ...clean } = process.env;
        const child = spawn(program, args, { cwd: dir, env: { ...clean, BUILD: 'build/release', ...env }, detached: true });
        let out = '';
        const late = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), LIMIT_MS);
        for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (out += data));
        child.on('error', reject);
        child.on('close', (code) => {
            clearTimeout(late);
            resolve({ code, out });
        });
    });
}

/* Nothing when the mutant was caught, else why not. */
async function hunt(dir, { edits, check, sees, target }) {
    mutate(dir, edits);
    const programs = ['build/release/carpoold', 'build/release/carpool.fcgi'];
    const built = await runIn(dir, ['make', '-s', 'BUILD=build/release', ...(target ? [target] : programs)]);
    if (built.code !== 0) return `it does not compile:\n${built.out}`;
    const { code, out } = await runIn(dir, check.run, check.env);
    if (code === 0) return `it was not noticed by ${check.run.join(' ')}:\n${out}`;
    return sees.test(out) ? null : `something failed, but not for what it is (status ${code}):\n${out}`;
}

async function main() {
    const wanted = MUTANTS.filter(({ name }) => name.includes(process.env.MUTANT ?? ''));
    const lanes = Math.min(Number(process.env.LANES || 2), wanted.length);
    const copies = Array.from({ length: lanes }, makeCopy);
    let caught = 0;
    try {
        await inParallel(wanted.length, lanes, async (i) => {
            const dir = copies.pop();
            const started = performance.now();
            const reason = await hunt(dir, wanted[i]).catch((e) => e.message);
            restore(dir, wanted[i].edits);
            copies.push(dir);
            const seconds = ((performance.now() - started) / 1000).toFixed(0).padStart(3);
            console.log(`${reason ? 'SURVIVED' : 'caught  '} ${seconds} s  ${wanted[i].name}`);
            if (reason) console.log(reason.split('\n').slice(-60).join('\n').replace(/^/gm, '    '));
            else caught++;
        });
    } finally {
        for (const dir of copies) fs.rmSync(dir, { recursive: true, force: true });
    }
    console.log(`${caught} passed, ${wanted.length - caught} failed`);
    process.exitCode = caught === wanted.length ? 0 : 1;
}

main();
