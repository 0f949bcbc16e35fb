'use strict';
/* carpoolctl export: what GET /v1/chat gives, line by line, with its filters, in constant memory. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const { ROOT, inParallel, until, useStack } = require('./harness');
const { ctl, PROGRAM } = require('./ctl');

const lines = (text) => text.split('\n').slice(0, -1);

/* RFC 4180, by hand: rows of cells. */
function parseCsv(text) {
    const rows = [[]];
    let cell = '';
    for (let i = 0, quoted = false; i < text.length; i++) {
        const c = text[i];
        if (quoted && c === '"' && text[i + 1] === '"') cell += text[++i];
        else if (c === '"') quoted = !quoted;
        else if (quoted || !',\r\n'.includes(c)) cell += c;
        else if (c !== '\r') {
            rows.at(-1).push(cell);
            cell = '';
            if (c === '\n') rows.push([]);
        }
    }
    assert.deepEqual(rows.pop(), [], 'the last line has an end');
    return rows;
}

async function exported(stack, ...args) {
    const result = await ctl(stack, ['export', ...args]);
    assert.equal(result.status, 0, result.err);
    return result.out;
}

describe('carpoolctl export', () => {
    const s = useStack({ env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '5', CARPOOL_BATCH_LOW_WINDOW_MS: '5' } });

    s.test('is what GET gives, with each of its filters', async (t, stack) => {
        assert.equal(await exported(stack), '');
        for (const [username, prompt, priority] of [
            ['ann', 'plain', 'HIGH'],
            ['bob', '=SUM(A1:A9), "quoted"\nand more', 'LOW'],
            ['ann', 'größer\t🙂', 'LOW'],
        ])
            assert.equal((await s.ask(prompt, { username, priority, metadata: { n: [1, 'a,b'] } })).status, 200);
        const all = await stack.chats();
        assert.equal(all.length, 3);
        for (const [query, ...args] of [
            [''],
            ['?username=ann', '--username', 'ann'],
            ['?priority=LOW', '--priority', 'low'],
            ['?username=ann&priority=LOW', '--username=ann', '--priority=LOW'],
            [`?from=${all[1].timestamp}`, '--from', all[1].timestamp],
            [`?to=${all[1].timestamp}`, '--to', all[1].timestamp],
            ['?from=2100-01-01', '--from', '2100-01-01'],
            ['?to=1970-01-02', '--to', '1970-01-01'],
        ])
            assert.deepEqual(lines(await exported(stack, 'chats', ...args)).map(JSON.parse), await stack.chats(query), query);
        assert.equal(await exported(stack, '--json'), await exported(stack));
    });

    s.test('as a table has every value, and no formula', async (t, stack) => {
        const [head, ...rows] = parseCsv(await exported(stack, '--format', 'csv'));
        const chats = await stack.chats();
        assert.equal(rows.length, chats.length);
        rows.forEach((row, i) => {
            const of = Object.fromEntries(head.map((name, n) => [name, row[n]]));
            const { request, response, batch_id, endpoint, timestamp } = chats[i];
            const plain = (text) => text.replace(/^'(?==)/, '');
            assert.equal(row.length, head.length);
            assert.equal(plain(of.prompt), request.prompt);
            assert.ok(!of.prompt.startsWith('='));
            assert.equal(of.text, response.text);
            assert.deepEqual(JSON.parse(of.metadata), request.metadata);
            assert.deepEqual(
                [of.request_id, of.username, of.batch_id, of.endpoint, of.completed_at, Number(of.latency_ms)],
                [request.request_id, request.username, batch_id, endpoint, timestamp, response.latency_ms],
            );
            assert.equal(Number(of.prompt_tokens) + Number(of.completion_tokens), response.tokens_used);
        });
    });

    s.test('of the audit trail begins with the oldest', async (t, stack) => {
        for (const window_ms of [1, 2, 3]) await s.put('/v1/settings', { high_priority: { window_ms } });
        const newest = (await ctl(stack, ['audit', '--json'])).json.entries;
        assert.deepEqual(lines(await exported(stack, 'audit')).map(JSON.parse), newest.toReversed());
        const late = lines(await exported(stack, 'audit', '--from', newest[0].time)).map(JSON.parse);
        assert.deepEqual(late.at(-1), newest[0]);
        assert.ok(late.length < newest.length || newest.every((entry) => entry.time >= newest[0].time));
        const rows = parseCsv(await exported(stack, 'audit', '--format=csv'));
        assert.deepEqual(rows.length, newest.length + 1);
        assert.deepEqual(JSON.parse(rows.at(-1)[3]), newest[0].details);
    });

    s.test('what cannot be is said', async (t, stack) => {
        for (const [pattern, ...args] of [
            [/nothing called "keys"/, 'keys'],
            [/about chats/, 'audit', '--username', 'ann'],
            [/exclude each other/, '--json', '--format', 'csv'],
            [/--format must be jsonl/, '--format', 'xml'],
        ]) {
            const result = await ctl(stack, ['export', ...args]);
            assert.deepEqual([result.status, result.out], [2, '']);
            assert.match(result.err, pattern);
        }
        const shut = fs.openSync('/dev/null', 'r');
        const result = await ctl(stack, ['export'], { stdout: shut });
        fs.closeSync(shut);
        assert.equal(result.status, 1);
        assert.match(result.err, /could not be written/);
    });

    s.test('of much takes little memory, however slow the reader is', async (t, stack) => {
        const prompt = 'x'.repeat(60000);
        await inParallel(150, 10, async (i) => assert.equal((await s.ask(`${i} ${prompt}`, { priority: 'HIGH' })).status, 200));
        const child = spawn(PROGRAM, ['export'], { cwd: ROOT, env: stack.environment(), stdio: ['ignore', 'pipe', 'inherit'] });
        const ended = new Promise((resolve) => child.on('close', resolve));
        child.stdout.pause();
        await until('it waits for its reader', () => /pipe_write|pipe_wait|anon_pipe_write/.test(fs.readFileSync(`/proc/${child.pid}/wchan`, 'utf8')) ||
            /^State:\s+S/m.test(fs.readFileSync(`/proc/${child.pid}/status`, 'utf8')));
        const anon = Number(/^RssAnon:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]);
        let size = 0, count = 0;
        child.stdout.on('data', (bytes) => {
            size += bytes.length;
            for (const b of bytes) count += b === 10;
        });
        child.stdout.resume();
        assert.equal(await ended, 0);
        assert.equal(count, (await stack.chats()).length);
        assert.ok(size > 150 * 2 * 60000, `${size}`);
        /* Under sanitizers memory is another thing. */
        if (!process.env.SANITIZED) assert.ok(anon < 6000, `${anon} KiB while ${size >> 10} KiB are on their way`);
    });
});
