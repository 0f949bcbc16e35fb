'use strict';
/* Streams whose first piece takes long: who waits for it, who does not any more, and who waits for a slot meanwhile. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const net = require('node:net');
const { useStack, until, sleep, STRETCH } = require('./harness');
const { user, chat, listen, chunksOf, textOf, assertError } = require('./openai');

const PING_MS = 10000; /* of silence, until a comment goes out */
const WAIT_MS = 30500; /* until a prompt of high priority is given up that is not sent */
const question = (text, more = {}) => ({ messages: [user(text)], ...more });

/* A client that has asked for a stream: a socket. In two pieces: lighttpd does not watch one whose request was whole when
 * it came. */
async function asking(s, text) {
    const body = JSON.stringify({ model: 'fake-model', stream: true, ...question(text) });
    const socket = net.connect(s.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.setNoDelay(true);
    socket.write('POST /v1/chat/completions');
    await sleep(1000 * STRETCH);
    socket.write(
        ' HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Priority: high\r\nContent-Type: application/json\r\n' +
            `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    return socket;
}

describe('streams that wait for their first piece', () => {
    const s = useStack({ provider: 'openai', env: { CARPOOL_RETRY_ATTEMPTS: '0', CARPOOL_PROVIDER_MAX_CONCURRENCY: '2' } });
    const callOf = (text) => until(`${text} is under way`, () => s.fake.callsWith(text)[0]);

    s.test('a model may think for longer than a prompt waits for its turn', async () => {
        const urgent = { headers: { 'X-Priority': 'high' } };
        s.fake.when(() => true, { ms: WAIT_MS + 3500 });
        const thinking = ['One?', 'Two?'].map((text) => listen(s, question(text), urgent));
        await s.fake.waitForCalls(2);
        /* Both slots are taken for longer than these can wait. */
        const [stream, plain] = await Promise.all([listen(s, question('Three?'), urgent), chat(s, question('Four?'), urgent)]);
        assert.equal(stream.status, 200, 'pings went out');
        assert.equal(stream.events.length, 1, stream.text);
        assert.equal(JSON.parse(stream.events[0]).error.code, 'not_sent_in_time');
        assertError(plain, 504, { code: 'not_sent_in_time', type: 'server_error', message: /nothing of it was sent/, retry: true });
        assert.equal(plain.headers['retry-after'], '1');
        for (const [i, result] of (await Promise.all(thinking)).entries()) {
            assert.equal(textOf(chunksOf(result)), `Answer to: ${['One?', 'Two?'][i]}`);
            assert.ok(result.comments >= 3, `${result.comments} comments`);
            assert.ok(result.at[0] > WAIT_MS + 3000, `${result.at[0]} ms`);
        }
        assert.equal(s.fake.calls.length, 2);
    });

    /* A client that has only closed its side may still read (RFC 9293), and lighttpd does not tell it from one that is gone
     * until something is written to it. That is the first ping: any earlier, and the status would be out before the provider
     * has said its own. */
    s.test('who leaves is seen at once when it resets, with the first ping when it closes', async () => {
        s.fake.when(() => true, { ms: 3 * PING_MS * STRETCH });
        const [reset, closed] = await Promise.all(['reset?', 'closed?'].map((text) => asking(s, text)));
        const calls = { reset: await callOf('reset?'), closed: await callOf('closed?') };
        reset.resetAndDestroy();
        closed.destroy();
        await until('the call of the one that was reset ends', () => calls.reset.clientLeft, PING_MS / 2 / STRETCH);
        await until('so does the other', () => calls.closed.clientLeft, PING_MS + 5000);
        const kept = ['carpool_provider_calls_in_flight 0', 'carpool_prompts_in_flight 0', 'carpool_streams_aborted_total 2'];
        await until('nothing is held for them, and both are counted', async () => {
            const { text } = await s.get('/metrics');
            for (const line of kept) assert.match(text, new RegExp(`^${line}$`, 'm'));
            return true;
        });
    });
});
