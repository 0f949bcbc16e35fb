'use strict';
/* OpenAI's API with stream: told as it comes, ended by [DONE] once it is durable, given again, cancelled, held back. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, until, sleep, isAlive, STRETCH, UUID } = require('./harness');
const { piecesOf } = require('./fake_dialects');
const { user, chat, listen, inTurn, chunksOf, textOf, assertError } = require('./openai');

const WINDOWS = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '50',
    CARPOOL_RETRY_ATTEMPTS: '0',
};
const question = (text, more = {}) => ({ messages: [user(text)], ...more });
const keyed = (key) => ({ headers: { 'Idempotency-Key': key } });
const withUsage = { stream_options: { include_usage: true } };

/* An error in the middle: an event with it is the last one, and nothing says [DONE]. */
function assertBroken(result, code) {
    assert.equal(result.status, 200);
    const last = JSON.parse(result.events.at(-1));
    assert.deepEqual(Object.keys(last), ['error'], result.text.slice(-500));
    assert.deepEqual(Object.keys(last.error), ['message', 'type', 'param', 'code']);
    assert.equal(last.error.type, 'server_error');
    if (code) assert.match(last.error.code, code);
    assert.ok(!result.events.includes('[DONE]'));
}

describe('streams', () => {
    const s = useStack({ provider: 'openai', env: WINDOWS });

    s.test('each piece as it comes, as the provider sent it', async () => {
        const { each, read, late } = inTurn('Answer to: a b c d e f', 1000);
        s.fake.next({ each });
        const result = await listen(s, question('a b c d e f', { max_tokens: 9, own: 1.50 }), { read });
        const chunks = chunksOf(result);
        assert.deepEqual(late, []);
        assert.equal(textOf(chunks), 'Answer to: a b c d e f');
        assert.match(result.headers['x-request-id'], UUID);
        assert.equal(result.headers['cache-control'], 'no-store');
        assert.equal(result.headers['x-accel-buffering'], 'no', 'for an nginx in front');
        assert.match(result.headers['server-timing'], /^first;dur=[\d.]+$/);
        const [call] = s.fake.calls;
        assert.deepEqual(call.body, {
            model: 'fake-model',
            ...question('a b c d e f', { max_tokens: 9, own: 1.5 }),
            stream: true,
            stream_options: { include_usage: true },
        });
        assert.equal(chunks.length, piecesOf('Answer to: a b c d e f').length + 2);
        assert.deepEqual([...new Set(chunks.map((c) => c.id))], [`chatcmpl-${call.n}`]);
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
        const [kept] = await s.chats('?order=newest&limit=1');
        assert.equal(kept.response.text, 'Answer to: a b c d e f');
        assert.ok(kept.response.tokens_used > 0);
        assert.equal(kept.request.request_id, result.headers['x-request-id']);
    });

    s.test('the usage comes at the end if it is asked for', async () => {
        assert.equal(chunksOf(await listen(s, question('Without?'))).filter((c) => c.usage).length, 0);
        const chunks = chunksOf(await listen(s, question('With?', withUsage)));
        const last = chunks.pop();
        assert.deepEqual(last.choices, []);
        assert.equal(last.object, 'chat.completion.chunk');
        assert.equal(last.id, chunks[0].id);
        assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens);
        assert.equal(last.usage.total_tokens, s.fake.calls[1].tokens);
        assert.equal(chunks.filter((c) => c.usage).length, 0, 'once');
    });

    s.test('several choices, and texts to be continued', async () => {
        const chunks = chunksOf(await listen(s, question('x y', { n: 2 })));
        for (const index of [0, 1]) {
            const own = chunks.flatMap((c) => c.choices).filter((c) => c.index === index);
            assert.equal(own.map((c) => c.delta.content ?? '').join(''), `Answer to: x y${index ? ' (1)' : ''}`);
        }
        const texts = chunksOf(await listen(s, { prompt: 'Once' }, { path: '/v1/completions' }));
        assert.equal(textOf(texts), ', and so on after: Once');
        assert.equal(texts[0].object, 'text_completion');
    });

    s.test('given again as a stream, and to whoever asks without', async () => {
        const body = question('Again and again?', { seed: 1, ...withUsage });
        const first = chunksOf(await listen(s, body, keyed('again-1')));
        const result = await listen(s, body, keyed('again-1'));
        const again = chunksOf(result);
        assert.equal(result.headers['idempotent-replayed'], 'true');
        assert.equal(result.headers['x-request-id'], 'again-1');
        assert.equal(textOf(again), textOf(first));
        assert.deepEqual(again.at(-1).usage, first.at(-1).usage);
        assert.equal(again.at(-2).choices[0].finish_reason, 'stop');
        assert.deepEqual([...new Set(again.map((c) => c.id))], [first[0].id]);
        const { stream_options: _, ...rest } = body;
        const whole = await chat(s, rest, keyed('again-1'));
        assert.equal(whole.json.choices[0].message.content, textOf(first), whole.text);
        assert.equal(whole.json.object, 'chat.completion');
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('409 while it runs, 422 for another body', async () => {
        s.fake.hold();
        const running = listen(s, question('Running a b c d e f g h i j?'), keyed('run-1'));
        await s.fake.waitForCalls(1);
        const second = await chat(s, question('Running a b c d e f g h i j?', { stream: true }), keyed('run-1'));
        assertError(second, 409, { code: 'request_running', retry: true });
        assert.ok(Number(second.headers['retry-after']) >= 1);
        const other = await chat(s, question('Another?', { stream: true }), keyed('run-1'));
        assertError(other, 422, { code: 'idempotency_key_reused' });
        s.fake.release();
        chunksOf(await running);
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('what goes wrong before the first piece is an ordinary error', async () => {
        s.fake.next({ do: 'status', status: 429, retryAfter: 2 });
        const limited = await chat(s, question('Too many?', { stream: true }));
        assertError(limited, 429, { type: 'rate_limit_error', retry: true });
        assert.equal(limited.headers['retry-after'], '2');
        s.fake.next({ do: 'status', status: 400, message: 'no such tool' });
        assertError(await chat(s, question('What?', { stream: true })), 400, { message: /no such tool/ });
        s.fake.next('reset_before');
        const lost = await chat(s, question('Lost?', { stream: true }));
        assert.ok([424, 502, 504].includes(lost.status), lost.text);
        assert.equal(lost.headers['x-should-retry'], 'false');
    });

    s.test('what goes wrong later is the last event', async () => {
        for (const then of ['reset', 'end', 'error']) {
            s.fake.next({ after: 4, then });
            const result = await listen(s, question('a b c d e f'), keyed(`broken-${then}`));
            assertBroken(result);
            assert.equal(textOf(result.events.slice(0, -1).map((e) => JSON.parse(e))), 'Answer to: a', then);
            const again = await chat(s, question('a b c d e f', { stream: true }), keyed(`broken-${then}`));
            assertError(again, 424, { code: 'outcome_unknown', retry: false });
        }
        assert.equal(s.fake.calls.length, 3);
    });

    s.test('a provider that answers in one', async () => {
        const answer = {
            id: 'chatcmpl-one',
            object: 'chat.completion',
            created: 7,
            model: 'fake-model',
            choices: [{ index: 0, message: { role: 'assistant', content: 'All at once, and rather long. '.repeat(20) }, finish_reason: 'stop' }],
            usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
        };
        s.fake.next({ do: 'raw', text: JSON.stringify(answer) });
        const chunks = chunksOf(await listen(s, question('In one?', withUsage)));
        assert.deepEqual(chunks.pop().usage, answer.usage);
        assert.equal(textOf(chunks), answer.choices[0].message.content);
        assert.ok(chunks.length > 3);
        assert.equal(chunks[0].id, 'chatcmpl-one');
        /* Whichever of its texts are long: pieces are as many as a reader may notice, not as many as fit in. */
        const [message] = answer.choices.map((choice) => choice.message);
        message.reasoning_content = 'One thing leads to another. '.repeat(20000);
        s.fake.next({ do: 'raw', text: JSON.stringify(answer) });
        const thoughtful = chunksOf(await listen(s, question('After some thought?')));
        assert.equal(textOf(thoughtful), message.content);
        assert.equal(thoughtful.map((c) => c.choices[0].delta.reasoning_content ?? '').join(''), message.reasoning_content);
        assert.ok(thoughtful.length < 2000, `${thoughtful.length} pieces`);
    });

    s.test('who leaves ends it, unless it has a key', async () => {
        const long = question(`long ${'word '.repeat(200)}`);
        s.fake.when(() => true, { pieceMs: 20 });
        await listen(s, long, { read: (event, n, req) => n === 5 && req.destroy() }).catch(() => {});
        await until('the call was ended', () => s.fake.calls[0].clientLeft);
        assert.ok(s.fake.calls[0].streamed < 150, String(s.fake.calls[0].streamed));
        const kept = listen(s, long, { ...keyed('left-1'), read: (event, n, req) => n === 5 && req.destroy() });
        await kept.catch(() => {});
        await until('the other one came to its end', () => s.fake.calls[1].sentWhole, 30000);
        const again = await until('it can be asked for', async () => {
            const res = await listen(s, long, keyed('left-1'));
            return res.status === 200 && res;
        });
        assert.equal(textOf(chunksOf(again)), `Answer to: ${long.messages[0].content}`);
        assert.equal(again.headers['idempotent-replayed'], 'true');
        assert.equal(s.fake.calls.length, 2);
    });

    s.test('they are counted, and those that run are shown', async () => {
        const value = async (name) => {
            const res = await s.get('/metrics');
            return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(res.text)[1]);
        };
        const names = ['carpool_streams_total', 'carpool_streams_aborted_total', 'carpool_streams_in_flight'];
        const before = await Promise.all(names.map(value));
        s.fake.when(() => true, { pieceMs: 100 });
        let req;
        const left = listen(s, question('word '.repeat(300)), { read: (event, n, r) => (req = r) });
        await until('it runs', async () => req && (await value(names[2])) === 1);
        req.destroy();
        await left.catch(() => {});
        await until('it ended', async () => (await value(names[2])) === 0);
        await until('both are counted', async () => (await value(names[1])) === before[1] + 1);
        assert.equal(await value(names[0]), before[0] + 1);
    });

    s.test('who does not read holds the provider back, and loses nothing', async (t) => {
        /* Little text in many pieces: far more than what all sockets on the way hold. */
        const pieces = 200000; /* 38 MB: what they hold grows to twenty, or not */
        const text = Array.from({ length: pieces }, (_, i) => `${i} `).join('');
        s.fake.next({ do: 'say', text });
        let res;
        const running = listen(s, question('Much?'), { pause: (r) => (res = r).pause() });
        await until('it began', () => s.fake.calls[0]?.streamed > 0);
        let seen;
        await until(
            'it is held back',
            async () => {
                const before = seen;
                seen = s.fake.calls[0].streamed;
                await sleep(300);
                return seen === before;
            },
            20000,
        );
        t.diagnostic(`${seen} of ${pieces} pieces`);
        assert.ok(seen < pieces * 0.8, `${seen} of ${pieces} pieces have gone out`);
        const meanwhile = chunksOf(await listen(s, question('Meanwhile?')));
        assert.equal(textOf(meanwhile), 'Answer to: Meanwhile?', 'others are not held back');
        res.resume();
        const chunks = chunksOf(await running);
        assert.equal(chunks.length, pieces + 2);
        assert.ok(textOf(chunks) === text, 'every piece in order');
    });

    s.test('silence is filled with comments, and what goes wrong then is an event', async () => {
        s.fake.next({ do: 'status', status: 400, message: 'after a while' });
        s.fake.hold();
        const result = await listen(s, question('Slow?'), { comment: () => s.fake.release() });
        assert.ok(result.comments >= 1);
        const [event, ...more] = result.events.map((e) => JSON.parse(e));
        assert.equal(more.length, 0);
        assert.match(event.error.message, /after a while/);
        assert.equal(event.error.type, 'invalid_request_error');
    });

    s.test('many at once, every piece in order', async () => {
        const n = 60;
        s.fake.when(() => true, (call) => ({ do: 'say', text: Array.from({ length: 40 }, (_, i) => `${call.userText}.${i} `).join(''), pieceMs: 10 }));
        const results = await Promise.all(Array.from({ length: n }, (_, i) => listen(s, question(`s${i}`))));
        results.forEach((result, i) =>
            assert.equal(textOf(chunksOf(result)), Array.from({ length: 40 }, (_, k) => `s${i}.${k} `).join('')),
        );
    });

    s.test('the coordinator dies in the middle', async (t, stack) => {
        stack.expectDamage = true;
        s.fake.next({ pieceMs: 50 });
        let killed;
        const result = await listen(s, question(`x ${'y '.repeat(100)}`), {
            ...keyed('dead-1'),
            read: (event, n) => {
                if (n === 5) {
                    killed = s.coordinatorPid();
                    process.kill(killed, 'SIGKILL');
                }
            },
        });
        assertBroken(result, /^outcome_unknown$/);
        const again = await until('another one has taken over', async () => {
            const res = await chat(s, question(`x ${'y '.repeat(100)}`, { stream: true }), keyed('dead-1'));
            return res.status !== 503 && res;
        });
        assertError(again, 424, { code: 'outcome_unknown', retry: false });
        assert.equal(s.fake.calls.length, 1);
    });
});

describe('streams whose processes die before the first piece', () => {
    const s = useStack({ provider: 'openai', env: WINDOWS });
    const asked = (key) => chat(s, question('Anything?', { stream: true }), { ...(key && keyed(key)), check: false });

    s.test('a coordinator: an error that is not asked again, with a key or without', async (t, stack) => {
        stack.expectDamage = true;
        s.fake.hold();
        const both = [asked(), asked('lost-1')];
        await s.fake.waitForCalls(2);
        process.kill(s.coordinatorPid(), 'SIGKILL');
        for (const res of await Promise.all(both)) assertError(res, 424, { code: 'outcome_unknown', type: 'server_error', retry: false });
        const again = await asked('lost-1');
        assertError(again, 424, { code: 'outcome_unknown', retry: false, message: /another Idempotency-Key/ });
        assert.ok(!again.text.includes('request_id'), `OpenAI's clients know no request_id: ${again.text}`);
        assert.equal(s.fake.calls.length, 2);
    });

    s.test('a worker: with a key it runs on and is given again, without it ends', async (t, stack) => {
        stack.expectDamage = true;
        s.fake.hold();
        const without = asked();
        await s.fake.waitForCalls(1);
        const both = [without, asked('lost-2')];
        await s.fake.waitForCalls(2);
        const killed = s.workers().children.map((p) => p.pid);
        for (const pid of killed) process.kill(pid, 'SIGKILL');
        for (const res of await Promise.all(both)) assertError(res, 500, { code: 'workers_failed' });
        /* One that is dying could still take the next request along. */
        await until('they are gone', () => !killed.some(isAlive));
        await until('nobody waits for the first', () => s.fake.calls[0].clientLeft);
        assertError(await asked('lost-2'), 409, { code: 'request_running', retry: true });
        s.fake.release();
        const again = await until('the other has come to its end', async () => {
            const res = await asked('lost-2');
            return res.status === 200 && res;
        });
        assert.equal(again.headers['idempotent-replayed'], 'true');
        assert.match(again.text, /data: \[DONE\]\n\n$/);
        assert.equal(s.fake.calls.length, 2);
        await until('it is counted, and nothing runs', async () => {
            const { text } = await s.get('/metrics');
            return /^carpool_streams_aborted_total 1$/m.test(text) && /^carpool_provider_calls_in_flight 0$/m.test(text);
        });
    });
});

describe('streams and the time a provider may take', () => {
    const s = useStack({ provider: 'openai', env: { ...WINDOWS, CARPOOL_PROVIDER_TIMEOUT_MS: String(1500 * STRETCH) } });

    s.test('is for its silence, not for the whole', async () => {
        s.fake.next({ pieceMs: 250 * STRETCH });
        const result = await listen(s, question('a b c d e f g h i j'));
        assert.equal(textOf(chunksOf(result)), 'Answer to: a b c d e f g h i j');
        assert.ok(result.at.at(-1) - result.at[0] > 2000 * STRETCH);
        s.fake.next({ after: 4, then: 'stall' });
        const stalled = await listen(s, question('a b c d'));
        assertBroken(stalled);
        assert.equal(textOf(stalled.events.slice(0, -1).map((e) => JSON.parse(e))), 'Answer to: a');
        await until('the call was ended', () => s.fake.calls[1].clientLeft);
    });
});

for (const [provider, answer] of [
    ['mock', 'Processed: '],
    ['gemini', 'Answer to: '],
    ['model_service', 'Answer to: '],
])
    describe(`streams with ${provider}`, () => {
        const s = useStack({ provider, env: WINDOWS });

        s.test('are OpenAI chunks, too', async () => {
            const chunks = chunksOf(await listen(s, question('What is AI today?', withUsage)));
            const usage = chunks.pop();
            assert.ok(usage.usage.total_tokens > 0 || provider === 'model_service', 'which counts none');
            assert.equal(textOf(chunks), `${answer}What is AI today?`);
            for (const chunk of chunks) assert.equal(chunk.object, 'chat.completion.chunk');
            assert.equal(chunks[0].choices[0].delta.role, 'assistant');
            assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
            if (provider !== 'model_service') assert.ok(chunks.length >= 4, 'word by word');
            const again = await listen(s, question('And again?'), keyed('other-1'));
            const replayed = await listen(s, question('And again?'), keyed('other-1'));
            assert.equal(textOf(chunksOf(replayed)), textOf(chunksOf(again)));
            assert.equal(replayed.headers['idempotent-replayed'], 'true');
        });
    });
