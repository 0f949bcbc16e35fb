'use strict';
/* What the files here have in common: a carpool, and OpenAI's SDK with its base URL. */
const OpenAI = require('openai');
const { useStack } = require('../integration/harness');

const KEY = 'sk-carpool-sdk-canary-1';
const WINDOWS = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '50',
    CARPOOL_RETRY_ATTEMPTS: '0', /* so that it is the SDK that tries again */
};

const useCarpool = ({ env, ...options } = {}) =>
    useStack({ provider: 'openai', env: { ...WINDOWS, API_KEY: KEY, ...env }, ...options });
const client = (s, options = {}) =>
    new OpenAI({ apiKey: KEY, baseURL: `http://127.0.0.1:${s.port}/v1`, maxRetries: 0, timeout: 60000, ...options });
const question = (content, more = {}) => ({ model: 'fake-model', messages: [{ role: 'user', content }], ...more });

module.exports = { OpenAI, useCarpool, client, question, KEY };
