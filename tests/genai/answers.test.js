'use strict';
/* What the fake Gemini says is understood by Google's SDK, and comes out of carpool as OpenAI's words for the same. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { ApiError } = require('@google/genai');
const { MODEL, useCarpool, google, ask, asEvents } = require('./genai');

const hello = { messages: [{ role: 'user', content: 'One two three?' }], seed: 1 };
const asked = { model: MODEL, contents: 'One two three?', config: { seed: 1 } };
const CALLS = {
    candidates: [
        {
            content: {
                role: 'model',
                parts: [
                    { text: 'Let me see. ' },
                    { functionCall: { name: 'weather', args: { city: 'Ulm', days: [1, 2] } }, thoughtSignature: 'c2lnbg==' },
                    { functionCall: { id: 'own', name: 'time' } },
                ],
            },
            finishReason: 'STOP',
            index: 0,
        },
    ],
    usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 7, thoughtsTokenCount: 11, totalTokenCount: 23 },
    modelVersion: MODEL,
    responseId: 'resp-9',
};
const FINISHES = { stop: 'STOP', length: 'MAX_TOKENS', content_filter: 'SAFETY' };

/* The deltas of a stream put together, as a client does it. */
function together(chunks) {
    const message = { content: '', calls: [] };
    for (const { choices } of chunks)
        for (const { delta, finish_reason } of choices) {
            message.content += delta.content ?? '';
            for (const { index, function: f, ...rest } of delta.tool_calls ?? []) message.calls[index] = { ...rest, ...f };
            message.finish = finish_reason ?? message.finish;
        }
    return message;
}

function sameCalls(reference, ours) {
    assert.deepEqual(
        ours.map(({ name, arguments: text }) => ({ name, args: JSON.parse(text) })),
        reference.map(({ name, args = {} }) => ({ name, args })),
    );
    assert.equal(new Set(ours.map((call) => call.id)).size, ours.length);
    assert.deepEqual(ours.map((call) => call.type), ours.map(() => 'function'));
}

describe('what is answered', () => {
    const s = useCarpool();

    s.test('a text', async () => {
        const reference = await google(s.fake).models.generateContent(asked);
        const { json } = await ask(s, hello);
        const [choice] = json.choices;
        assert.equal(reference.text, 'Answer to: One two three?');
        assert.equal(choice.message.content, reference.text);
        assert.equal(FINISHES[choice.finish_reason], reference.candidates[0].finishReason);
        assert.equal(json.model, reference.modelVersion);
        assert.equal(json.usage.prompt_tokens, reference.usageMetadata.promptTokenCount);
        assert.equal(json.usage.completion_tokens, reference.usageMetadata.candidatesTokenCount);
        assert.equal(json.usage.total_tokens, reference.usageMetadata.totalTokenCount);
    });

    s.test('the same as a stream, piece by piece', async () => {
        const pieces = [];
        for await (const piece of await google(s.fake).models.generateContentStream(asked)) pieces.push(piece.text);
        const { chunks, done } = await ask(s, { ...hello, stream: true });
        assert.ok(done && pieces.length > 2);
        assert.deepEqual(chunks.map((chunk) => chunk.choices[0].delta.content), pieces);
        assert.equal(chunks[0].choices[0].delta.role, 'assistant');
        assert.deepEqual(chunks.map((chunk) => chunk.choices[0].finish_reason), [...pieces.slice(1).map(() => null), 'stop']);
        assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
    });

    s.test('several answers, and how likely their words are', async () => {
        const reference = await google(s.fake).models.generateContent({ ...asked, config: { candidateCount: 2, responseLogprobs: true, logprobs: 1 } });
        const { json } = await ask(s, { messages: hello.messages, n: 2, logprobs: true, top_logprobs: 1 });
        assert.equal(json.choices.length, 2);
        json.choices.forEach(({ index, message, logprobs }, i) => {
            const { content, logprobsResult } = reference.candidates[i];
            assert.equal(index, i);
            assert.equal(message.content, content.parts[0].text);
            assert.deepEqual(
                logprobs.content,
                logprobsResult.chosenCandidates.map(({ token, logProbability: logprob }) => ({
                    token,
                    logprob,
                    bytes: null,
                    top_logprobs: [{ token, logprob, bytes: null }],
                })),
            );
        });
    });

    s.test('calls of functions', async () => {
        s.fake.next({ do: 'raw', text: JSON.stringify(CALLS), type: 'application/json' }, 2);
        const reference = await google(s.fake).models.generateContent(asked);
        const { json } = await ask(s, hello);
        const { message, finish_reason } = json.choices[0];
        assert.equal(message.content, CALLS.candidates[0].content.parts[0].text);
        sameCalls(reference.functionCalls, message.tool_calls.map((call) => ({ ...call, ...call.function })));
        assert.equal(message.tool_calls[0].extra_content.google.thought_signature, 'c2lnbg==');
        assert.equal(message.tool_calls[1].id, reference.functionCalls[1].id);
        assert.equal(finish_reason, 'tool_calls');
        assert.deepEqual(json.usage.completion_tokens_details, { reasoning_tokens: reference.usageMetadata.thoughtsTokenCount });
        assert.equal(json.usage.total_tokens, reference.usageMetadata.totalTokenCount);
    });

    s.test('calls of functions in a stream', async () => {
        const [{ content, ...rest }] = CALLS.candidates;
        const piece = (parts, more) => ({ ...CALLS, candidates: [{ index: 0, content: { role: 'model', parts }, ...more }] });
        const text = asEvents(piece(content.parts.slice(0, 1)), piece(content.parts.slice(1, 2)), piece(content.parts.slice(2), rest));
        s.fake.next({ do: 'raw', text, type: 'text/event-stream' }, 2);
        const calls = [];
        for await (const r of await google(s.fake).models.generateContentStream(asked)) calls.push(...(r.functionCalls ?? []));
        const { chunks, done } = await ask(s, { ...hello, stream: true, stream_options: { include_usage: true } });
        const { usage } = chunks.pop();
        const ours = together(chunks);
        assert.ok(done);
        assert.equal(ours.content, 'Let me see. ');
        assert.equal(ours.finish, 'tool_calls');
        sameCalls(calls, ours.calls);
        assert.equal(usage.total_tokens, 23);
    });

    s.test('an answer that the filter stopped, and one that was cut short', async () => {
        for (const [finish, ours] of [['filter', 'content_filter'], ['length', 'length']]) {
            s.fake.next({ do: 'say', text: 'Half', finish }, 2);
            const reference = await google(s.fake).models.generateContent(asked);
            const { json } = await ask(s, hello);
            assert.equal(json.choices[0].finish_reason, ours);
            assert.equal(FINISHES[ours], reference.candidates[0].finishReason);
        }
        s.fake.next('filter', 2);
        const reference = await google(s.fake).models.generateContent(asked);
        const { json } = await ask(s, hello);
        assert.ok(reference.promptFeedback.blockReason);
        assert.equal(json.choices[0].finish_reason, 'content_filter');
        assert.equal(json.choices[0].message.content, null);
    });

    s.test('errors', async () => {
        for (const [status, ours] of [[400, 400], [429, 429], [503, 503]]) {
            s.fake.next({ do: 'status', status, message: `the reason is ${status}` }, 2);
            const error = await google(s.fake).models.generateContent(asked).then(assert.fail, (e) => e);
            assert.ok(error instanceof ApiError);
            assert.equal(error.status, status);
            assert.match(error.message, new RegExp(`the reason is ${status}`));
            const { status: told, json } = await ask(s, hello);
            assert.equal(told, ours);
            assert.match(json.error.message, new RegExp(`the reason is ${status}`));
        }
    });
});
