'use strict';
/* What carpool sends to Gemini for one of OpenAI's requests is what Google's SDK sends for the same question. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { MODEL, GOOGLE_KEY, useCarpool, google, ask } = require('./genai');

const PICTURE = 'iVBORw0KGgo=';
const WEATHER = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const tool = (name) => ({ type: 'function', function: { name, description: `Says the ${name}.`, parameters: WEATHER, strict: true } });
const declared = (...names) => [
    { functionDeclarations: names.map((name) => ({ name, description: `Says the ${name}.`, parametersJsonSchema: WEATHER })) },
];
const hello = [{ role: 'user', content: 'Hello?' }];
const helloThere = [{ role: 'user', parts: [{ text: 'Hello?' }] }];

/* openai: a request of OpenAI's; contents, config: the same for the SDK. */
const CASES = {
    'a question': { openai: { messages: hello, stop: [] , n: 1, seed: 7 }, contents: 'Hello?', config: { seed: 7 } },
    'what the system says': {
        openai: {
            messages: [{ role: 'system', content: 'Be brief.' }, ...hello, { role: 'assistant', content: 'Hello.' }, { role: 'user', content: 'And?' }],
        },
        contents: [...helloThere, { role: 'model', parts: [{ text: 'Hello.' }] }, { role: 'user', parts: [{ text: 'And?' }] }],
        config: { systemInstruction: 'Be brief.' },
    },
    'a picture, a sound and a file': {
        openai: {
            messages: [
                {
                    role: 'user',
                    content: [
                        { type: 'text', text: 'What is this?' },
                        { type: 'image_url', image_url: { url: `data:image/png;base64,${PICTURE}` } },
                        { type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } },
                        { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERg==' } },
                    ],
                },
            ],
        },
        contents: [
            {
                role: 'user',
                parts: [
                    { text: 'What is this?' },
                    { inlineData: { mimeType: 'image/png', data: PICTURE } },
                    { inlineData: { mimeType: 'audio/wav', data: 'UklGRg==' } },
                    { inlineData: { mimeType: 'application/pdf', data: 'JVBERg==' } },
                ],
            },
        ],
    },
    'every parameter': {
        openai: {
            messages: hello,
            temperature: 0.25,
            top_p: 0.5,
            top_k: 3,
            n: 2,
            max_completion_tokens: 99,
            stop: ['END', 'FIN'],
            seed: 12345,
            presence_penalty: 0.5,
            frequency_penalty: -0.5,
            logprobs: true,
            top_logprobs: 3,
            reasoning_effort: 'low',
            user: 'somebody',
        },
        contents: 'Hello?',
        config: {
            temperature: 0.25,
            topP: 0.5,
            topK: 3,
            candidateCount: 2,
            maxOutputTokens: 99,
            stopSequences: ['END', 'FIN'],
            seed: 12345,
            presencePenalty: 0.5,
            frequencyPenalty: -0.5,
            responseLogprobs: true,
            logprobs: 3,
            thinkingConfig: { thinkingBudget: 1024 },
        },
    },
    'an answer of a schema': {
        openai: { messages: hello, response_format: { type: 'json_schema', json_schema: { name: 'w', strict: true, schema: WEATHER } } },
        contents: 'Hello?',
        config: { responseMimeType: 'application/json', responseJsonSchema: WEATHER },
    },
    'any JSON': {
        openai: { messages: hello, response_format: { type: 'json_object' } },
        contents: 'Hello?',
        config: { responseMimeType: 'application/json' },
    },
    'functions': {
        openai: { messages: hello, tools: [tool('weather'), tool('time')] },
        contents: 'Hello?',
        config: { tools: declared('weather', 'time') },
    },
    'one function that must be called': {
        openai: { messages: hello, tools: [tool('weather'), tool('time')], tool_choice: { type: 'function', function: { name: 'time' } } },
        contents: 'Hello?',
        config: {
            tools: declared('weather', 'time'),
            toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['time'] } },
        },
    },
    'no function': {
        openai: { messages: hello, tools: [tool('weather')], tool_choice: 'none' },
        contents: 'Hello?',
        config: { tools: declared('weather'), toolConfig: { functionCallingConfig: { mode: 'NONE' } } },
    },
    'what functions gave': {
        openai: {
            messages: [
                ...hello,
                {
                    role: 'assistant',
                    content: 'I shall ask.',
                    tool_calls: [
                        {
                            id: 'c1',
                            type: 'function',
                            function: { name: 'weather', arguments: '{"city":"Ulm"}' },
                            extra_content: { google: { thought_signature: 'c2lnbg==' } },
                        },
                        { id: 'c2', type: 'function', function: { name: 'time', arguments: '{}' } },
                    ],
                },
                { role: 'tool', tool_call_id: 'c1', content: '{"sky":"blue"}' },
                { role: 'tool', tool_call_id: 'c2', content: 'noon' },
            ],
            tools: [tool('weather'), tool('time')],
        },
        contents: [
            ...helloThere,
            {
                role: 'model',
                parts: [
                    { text: 'I shall ask.' },
                    { functionCall: { id: 'c1', name: 'weather', args: { city: 'Ulm' } }, thoughtSignature: 'c2lnbg==' },
                    { functionCall: { id: 'c2', name: 'time', args: {} } },
                ],
            },
            {
                role: 'user',
                parts: [
                    { functionResponse: { id: 'c1', name: 'weather', response: { sky: 'blue' } } },
                    { functionResponse: { id: 'c2', name: 'time', response: { output: 'noon' } } },
                ],
            },
        ],
        config: { tools: declared('weather', 'time') },
    },
};

/* The SDK names the role of what has one only; what is empty says nothing. */
function plain({ systemInstruction, generationConfig, ...body }) {
    if (systemInstruction) body.systemInstruction = { parts: systemInstruction.parts };
    if (generationConfig && Object.keys(generationConfig).length) body.generationConfig = generationConfig;
    return body;
}

describe('what is sent', () => {
    const s = useCarpool();

    for (const [name, { openai, contents, config }] of Object.entries(CASES)) {
        for (const streams of [false, true]) {
            s.test(`${name}${streams ? ', as a stream' : ''}`, async () => {
                const sdk = google(s.fake).models;
                if (streams) for await (const _ of await sdk.generateContentStream({ model: MODEL, contents, config }));
                else await sdk.generateContent({ model: MODEL, contents, config });
                assert.equal((await ask(s, { ...openai, stream: streams })).status, 200);
                const [reference, ours] = s.fake.calls;
                assert.deepEqual(plain(ours.body), plain(reference.body));
                assert.equal(ours.path, reference.path);
                assert.equal(reference.headers['x-goog-api-key'], GOOGLE_KEY);
                assert.ok(ours.headers['x-goog-api-key']);
                assert.deepEqual(s.fake.faults, []);
            });
        }
    }

    s.test('what has no counterpart is refused by name, and nothing is sent', async () => {
        for (const [name, value] of Object.entries({ logit_bias: { 1: 1 }, parallel_tool_calls: false, modalities: ['audio'], prediction: {} })) {
            const { status, json } = await ask(s, { messages: hello, [name]: value });
            assert.equal(status, 400, name);
            assert.match(json.error.message, new RegExp(`^${name}: `));
            assert.equal(json.error.param, name);
            assert.equal(json.error.type, 'invalid_request_error');
        }
        assert.equal(s.fake.calls.length, 0);
    });
});
