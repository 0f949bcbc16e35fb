/*
 * Everything this page asks of the server. The key lives in this module's memory and goes out in a header, to the
 * server the page came from and to nobody else; it is in no storage, no address and no message.
 */

let key = '';
const listeners = new Set();

export const hasKey = () => key !== '';

export function setKey(text) {
    key = text;
    for (const listener of listeners) listener();
}

export function onKeyChange(listener) {
    listeners.add(listener);
}

/** What went wrong, in a sentence for a person. */
export class ApiError extends Error {
    /**
     * @param {'offline'|'away'|'slow'|'stopped'|'key'|'forbidden'|'busy'|'refused'|'broken'} kind
     * @param {string} sentence
     * @param {{status?: number, field?: string, code?: string, retryAfter?: number}} [more]
     */
    constructor(kind, sentence, { status = 0, field = null, code = null, retryAfter = null } = {}) {
        super(sentence);
        Object.assign(this, { kind, status, field, code, retryAfter });
    }
}

const kindOf = (status) =>
    status === 401 ? 'key' : status === 403 ? 'forbidden' : status === 503 || status === 429 ? 'busy' : 'refused';

/** The error shapes of all endpoints: {error: {message}} and {error: "…"}. */
export function errorFrom(status, body, retryAfter = null) {
    const error = body?.error;
    const said = typeof error === 'string' ? error : error?.message;
    return new ApiError(kindOf(status), said || `The server answered with status ${status} and said no more.`, {
        status,
        field: error?.field ?? null,
        code: error?.error_code ?? body?.error_code ?? null,
        retryAfter: Number(retryAfter) || null,
    });
}

function failure(reason, timedOut, limitMs) {
    if (timedOut) return new ApiError('slow', `The server did not answer within ${Math.round(limitMs / 1000)} seconds.`);
    if (reason?.name === 'AbortError') return new ApiError('stopped', 'You stopped waiting.');
    if (navigator.onLine === false)
        return new ApiError('offline', 'This device is offline. What you see is from before.');
    return new ApiError('away', 'The server cannot be reached.');
}

async function parse(response) {
    const text = await response.text();
    try {
        return JSON.parse(text);
    } catch {
        if (!response.ok) return null;
        throw new ApiError('broken', 'The answer is not JSON: is something else answering at this address?');
    }
}

/**
 * @param {string} path relative to the page, so that a base path of the server is kept
 * @param {{method?: string, body?: *, headers?: Object<string, string>, limitMs?: number, signal?: AbortSignal,
 *     accept?: number[]}} [options] accept: statuses besides 2xx whose body is an answer
 * @returns {Promise<{json: *, response: Response}>} rejects with an ApiError
 */
export async function ask(path, { method = 'GET', body, headers = {}, limitMs = 10000, signal, accept = [] } = {}) {
    const stop = new AbortController();
    let timedOut = false;
    const timer = setTimeout(() => {
        timedOut = true;
        stop.abort();
    }, limitMs);
    const passOn = () => stop.abort();
    signal?.addEventListener('abort', passOn);
    if (signal?.aborted) stop.abort();
    try {
        const response = await fetch(path, {
            method,
            headers: {
                Accept: 'application/json',
                ...(key && { 'X-API-Key': key }),
                ...(body !== undefined && { 'Content-Type': 'application/json' }),
                ...headers,
            },
            body: body === undefined ? undefined : JSON.stringify(body),
            /* With "no-store" a browser adds Cache-Control: no-cache, by which a prompt would pass by known answers. */
            cache: method === 'GET' ? 'no-store' : 'default',
            credentials: 'omit',
            redirect: 'error',
            signal: stop.signal,
        });
        const json = await parse(response);
        if (!response.ok && !accept.includes(response.status))
            throw errorFrom(response.status, json, response.headers.get('Retry-After'));
        return { json, response };
    } catch (reason) {
        throw reason instanceof ApiError ? reason : failure(reason, timedOut, limitMs);
    } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', passOn);
    }
}

const query = (parameters) => {
    const given = Object.entries(parameters).filter(([, v]) => v !== null && v !== undefined && v !== '');
    return given.length ? `?${new URLSearchParams(given)}` : '';
};

const get = async (path, signal) => (await ask(path, { signal })).json;

export const getHealth = async (signal) => (await ask('health', { signal, accept: [503] })).json;
export const getSettings = (signal) => get('v1/settings', signal);
export const putSettings = async (patch) => (await ask('v1/settings', { method: 'PUT', body: patch, limitMs: 35000 })).json;
export const getAnalytics = (range, signal) => get(`v1/analytics${query(range)}`, signal);
export const getStats = (signal) => get('stats', signal);
export const getChats = (parameters, signal) => get(`v1/chat${query(parameters)}`, signal);

/** @returns {Promise<{json: *, response: Response}>} */
export const sendPrompt = (prompt, priority, fresh, signal) =>
    ask('v1/query', {
        method: 'POST',
        body: { prompt, priority },
        headers: fresh ? { 'Cache-Control': 'no-cache' } : {},
        limitMs: 640000, /* the longest latency that can be set, and 30 s */
        signal,
    });
