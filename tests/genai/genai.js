'use strict';
/* What the files here have in common: the fake Gemini, Google's SDK at it, and a carpool before it. */
const { GoogleGenAI } = require('@google/genai');
const { useStack } = require('../integration/harness');

const KEY = 'sk-carpool-genai-canary-1';
const GOOGLE_KEY = 'AIza-genai-canary-1';
const MODEL = 'gemini-2.5-flash';

const useCarpool = () =>
    useStack({ provider: 'gemini', env: { API_KEY: KEY, CARPOOL_PROVIDER_MODEL: MODEL, CARPOOL_RETRY_ATTEMPTS: '0', CARPOOL_CACHE_MODE: 'off' } });
/* Straight to the fake. */
const google = (fake) =>
    new GoogleGenAI({ apiKey: GOOGLE_KEY, httpOptions: { baseUrl: fake.url, retryOptions: { attempts: 1 } } });

/* One of OpenAI's requests through carpool: the status, the JSON, or of a stream its chunks. */
async function ask(s, body, path = '/v1/chat/completions') {
    const res = await fetch(`http://127.0.0.1:${s.port}${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${KEY}` },
        body: JSON.stringify({ model: MODEL, ...body }),
    });
    const text = await res.text();
    if (!res.headers.get('content-type').startsWith('text/event-stream')) return { status: res.status, json: JSON.parse(text) };
    const events = text.split('\n\n').filter((event) => event.startsWith('data: '));
    const done = events.at(-1) === 'data: [DONE]';
    return {
        status: res.status,
        done,
        chunks: events.slice(0, done ? -1 : undefined).map((event) => JSON.parse(event.slice(6))),
    };
}

/* Several events of a stream as Gemini sends them. */
const asEvents = (...responses) => responses.map((r) => `data: ${JSON.stringify(r)}\r\n\r\n`).join('');

module.exports = { MODEL, GOOGLE_KEY, useCarpool, google, ask, asEvents };
