'use strict';
/*
 * How OpenAI's and Gemini's APIs, and that of a model service of one's own, look on the wire, for the fake
 * provider: reads the prompts out of a call and writes answers and errors as the real services word them. Requests that the real services would refuse
 * (strict schemas, unknown generationConfig fields, a key in the URL) are refused here too.
 * It leaves misbehaviour and the HTTP server to fake_provider.js.
 */

/* What a model copies as its echo: as many words as the instruction asks for. */
function echoOf(prompt, system) {
    const words = /first (\d+) words/.exec(system)?.[1] ?? 8;
    return new RegExp(`^(\\s*\\S+){0,${words}}`, 'u').exec(prompt)[0].trim();
}

const answerTo = (prompt) => `Answer to: ${prompt}`;
const tokensOf = (text) => Math.ceil(Buffer.byteLength(text) / 4);

function firstString(value) {
    if (typeof value === 'string') return value;
    if (!value || typeof value !== 'object') return undefined;
    for (const key of ['question', 'prompt', 'text', 'q']) if (typeof value[key] === 'string') return value[key];
    return Object.values(value).find((v) => typeof v === 'string');
}

/* Every id with its question, wherever the JSON holds them: {id: question}, [{id, question}], or wrapped. */
function collectQuestions(value, ids, found) {
    if (Array.isArray(value)) {
        for (const entry of value) {
            if (entry && typeof entry === 'object' && ids.has(entry.id)) {
                const { id, ...rest } = entry;
                found.set(id, firstString(rest));
            } else collectQuestions(entry, ids, found);
        }
    } else if (value && typeof value === 'object') {
        for (const [key, entry] of Object.entries(value)) {
            if (ids.has(key)) found.set(key, firstString(entry));
            else collectQuestions(entry, ids, found);
        }
    }
}

/* The first JSON document inside a text. */
function jsonWithin(text) {
    for (let start = 0; start < text.length; start++) {
        if (text[start] !== '{' && text[start] !== '[') continue;
        const close = text[start] === '{' ? '}' : ']';
        for (let end = text.lastIndexOf(close); end > start; end = text.lastIndexOf(close, end - 1)) {
            try {
                return JSON.parse(text.slice(start, end + 1));
            } catch {
                /* a shorter one may do */
            }
        }
    }
    return undefined;
}

/* The members of a call: combined when a schema came along, one otherwise. */
function readMembers(userText, schema) {
    if (!schema) return { combined: false, members: [{ id: null, prompt: userText }] };
    const ids = schema.required || Object.keys(schema.properties || {});
    const found = new Map();
    collectQuestions(jsonWithin(userText), new Set(ids), found);
    return { combined: true, members: ids.map((id) => ({ id, prompt: found.get(id) })) };
}

function strictSchemaFault(schema, path = 'schema') {
    if (!schema || typeof schema !== 'object') return `${path} is not an object`;
    if (schema.type !== 'object') return null;
    const names = Object.keys(schema.properties || {});
    if (schema.additionalProperties !== false) return `${path}: additionalProperties must be false`;
    const required = new Set(schema.required || []);
    const missing = names.find((name) => !required.has(name));
    if (missing !== undefined) return `${path}: property ${missing} is not required`;
    for (const name of names) {
        const fault = strictSchemaFault(schema.properties[name], `${path}.${name}`);
        if (fault) return fault;
    }
    return null;
}

function holdsKey(value, name) {
    if (Array.isArray(value)) return value.some((v) => holdsKey(v, name));
    if (!value || typeof value !== 'object') return false;
    return Object.hasOwn(value, name) || Object.values(value).some((v) => holdsKey(v, name));
}

const contentText = (content) =>
    typeof content === 'string' ? content : (content || []).map((part) => part.text ?? '').join('');

/* The tokens of a text, as a stream brings them. */
const piecesOf = (text) => text.match(/\s*\S+(\s+$)?/g) ?? [];

/* Every word a token that the model was 95 % sure of. */
const logprobsOf = (text) => ({
    content: (text.match(/\s*\S+/g) ?? []).map((token) => ({
        token,
        logprob: Math.log(0.95),
        bytes: [...Buffer.from(token)],
        top_logprobs: [],
    })),
    refusal: null,
});

const openai = {
    name: 'openai',
    models: (models) => ({
        object: 'list',
        data: models.map((id) => ({ id, object: 'model', created: 1, owned_by: 'fake' })),
    }),

    read(body) {
        const { name, schema: wanted } = body.response_format?.json_schema ?? {};
        const schema = name === 'answers' ? wanted : undefined; /* another one is the caller's own */
        const users = (body.messages || []).filter((m) => m.role === 'user');
        const system = (body.messages || []).filter((m) => m.role === 'system' || m.role === 'developer');
        const userText = contentText(users.at(-1)?.content);
        return {
            model: body.model,
            temperature: body.temperature,
            maxTokens: body.max_completion_tokens ?? body.max_tokens,
            system: system.map((m) => contentText(m.content)).join('\n'),
            userText,
            schema,
            ...readMembers(userText, schema),
        };
    },

    fault(body) {
        if (typeof body.model !== 'string' || !body.model) return 'you must provide a model parameter';
        if (!Array.isArray(body.messages) || !body.messages.length) return "[] is too short - 'messages'";
        if (body.messages.some((m) => !['system', 'developer', 'user', 'assistant', 'tool'].includes(m.role)))
            return 'invalid role';
        if (![undefined, true, false].includes(body.logprobs)) return "invalid type for 'logprobs'";
        if (body.top_logprobs !== undefined && !body.logprobs) return "'top_logprobs' needs 'logprobs'";
        const format = body.response_format;
        if (!format || format.type === 'json_object') return null;
        if (format.type !== 'json_schema') return `unexpected response_format.type ${format.type}`;
        if (!format.json_schema?.name) return "Missing required parameter: 'response_format.json_schema.name'";
        return format.json_schema.strict ? strictSchemaFault(format.json_schema.schema) : null;
    },

    answer(call, text, finish) {
        const promptTokens = tokensOf(call.system + call.userText);
        const completionTokens = tokensOf(text);
        call.tokens = promptTokens + completionTokens;
        const reason = { stop: 'stop', length: 'length', filter: 'content_filter' }[finish];
        return {
            id: `chatcmpl-${call.n}`,
            object: 'chat.completion',
            created: Math.floor(Date.now() / 1000),
            model: call.model,
            choices: Array.from({ length: call.body.n ?? 1 }, (_, index) => ({
                index,
                message: { role: 'assistant', content: index ? `${text} (${index})` : text, refusal: null },
                logprobs: call.body.logprobs ? logprobsOf(text) : null,
                finish_reason: reason,
            })),
            usage: {
                prompt_tokens: promptTokens,
                completion_tokens: completionTokens,
                total_tokens: promptTokens + completionTokens,
            },
        };
    },

    /* The events of the same answer as a stream: the choices take turns. */
    events(call, text, finish) {
        const { id, created, model, choices, usage } = this.answer(call, text, finish);
        const rest = call.body.stream_options?.include_usage ? { usage: null } : {};
        const chunk = (index, delta, reason = null) => ({
            id,
            object: 'chat.completion.chunk',
            created,
            model,
            choices: [{ index, delta, logprobs: null, finish_reason: reason }],
            ...rest,
        });
        const each = choices.map(({ index, message, finish_reason }) => [
            chunk(index, { role: 'assistant', content: '', refusal: null }),
            ...piecesOf(message.content).map((content) => chunk(index, { content })),
            chunk(index, {}, finish_reason),
        ]);
        const events = [];
        for (let i = 0; each.some((list) => i < list.length); i++)
            events.push(...each.filter((list) => i < list.length).map((list) => list[i]));
        if (call.body.stream_options?.include_usage)
            events.push({ id, object: 'chat.completion.chunk', created, model, choices: [], usage });
        return [...events.map((event) => JSON.stringify(event)), '[DONE]'];
    },

    error(status, message, code) {
        const type =
            { 401: 'invalid_request_error', 429: 'requests', 500: 'server_error', 503: 'server_error' }[status] ||
            'invalid_request_error';
        return {
            error: {
                message,
                type,
                param: null,
                code: code ?? { 401: 'invalid_api_key', 429: 'rate_limit_exceeded' }[status] ?? null,
            },
        };
    },

    filtered() {
        return {
            status: 400,
            body: openai.error(400, 'The prompt was stopped by the content management policy.', 'content_filter'),
        };
    },
};

/* The members of Gemini's messages that carpool or a client of Google's may send: it refuses all others. */
const GEMINI_NAMES = {
    '': ['contents', 'systemInstruction', 'generationConfig', 'tools', 'toolConfig', 'safetySettings'],
    contents: ['role', 'parts'],
    systemInstruction: ['role', 'parts'],
    parts: ['text', 'inlineData', 'functionCall', 'functionResponse', 'thought', 'thoughtSignature'],
    inlineData: ['mimeType', 'data'],
    functionCall: ['id', 'name', 'args'],
    functionResponse: ['id', 'name', 'response'],
    tools: ['functionDeclarations'],
    functionDeclarations: ['name', 'description', 'parameters', 'parametersJsonSchema'],
    toolConfig: ['functionCallingConfig'],
    functionCallingConfig: ['mode', 'allowedFunctionNames'],
    generationConfig: [
        'responseMimeType', 'responseSchema', 'responseJsonSchema', 'maxOutputTokens', 'temperature', 'topP', 'topK', 'stopSequences',
        'seed', 'candidateCount', 'presencePenalty', 'frequencyPenalty', 'thinkingConfig', 'responseLogprobs', 'logprobs',
    ],
    thinkingConfig: ['thinkingBudget', 'thinkingLevel', 'includeThoughts'],
};

/* The first name that a message may not have, with where it stands. */
function unknownName(value, at) {
    if (Array.isArray(value)) return value.map((v) => unknownName(v, at)).find(Boolean);
    if (!value || typeof value !== 'object' || !GEMINI_NAMES[at]) return undefined;
    const name = Object.keys(value).find((key) => !GEMINI_NAMES[at].includes(key));
    if (name) return { name, at };
    return Object.keys(value).map((key) => unknownName(value[key], key)).find(Boolean);
}

/* What each content must be made of. */
function contentsFault(contents) {
    for (const { role, parts } of contents) {
        if (role !== undefined && role !== 'user' && role !== 'model') return 'Please use a valid role: user, model.';
        if (!parts?.length) return 'contents.parts must not be empty';
        if (parts.some((part) => !Object.keys(part).some((key) => !key.startsWith('thought')))) return 'part: required oneof field data';
    }
    const calls = contents.flatMap(({ parts }) => parts.filter((part) => part.functionCall));
    const results = contents.flatMap(({ parts }) => parts.filter((part) => part.functionResponse));
    if (results.length && results.length !== calls.length)
        return 'the number of function response parts must be that of function call parts';
    return null;
}

/* As logprobsOf: every word a token. */
function geminiLogprobs(text, top = 0) {
    const tokens = logprobsOf(text).content.map(({ token, logprob }) => ({ token, tokenId: 7, logProbability: logprob }));
    const topCandidates = tokens.map((token) => ({ candidates: Array.from({ length: top }, () => token) }));
    return { chosenCandidates: tokens, ...(top ? { topCandidates } : {}) };
}

const gemini = {
    name: 'gemini',
    models: (models) => ({
        models: models.map((id) => ({
            name: `models/${id}`,
            displayName: id,
            supportedGenerationMethods: ['generateContent'],
        })),
    }),

    read(body, path) {
        const config = body.generationConfig || {};
        const schema = config.responseSchema; /* responseJsonSchema is the caller's own */
        const userText = contentText((body.contents || []).filter((c) => (c.role ?? 'user') === 'user').at(-1)?.parts);
        return {
            model: /\/models\/([^:]+):/.exec(path)?.[1],
            temperature: config.temperature,
            maxTokens: config.maxOutputTokens,
            system: contentText(body.systemInstruction?.parts),
            userText,
            schema,
            ...readMembers(userText, schema),
        };
    },

    fault(body, path) {
        if (/[?&]key=/.test(path)) return 'the key stands in the URL';
        if (!Array.isArray(body.contents) || !body.contents.length) return 'contents is not specified';
        const config = body.generationConfig || {};
        const unknown = unknownName(body, '');
        if (unknown) return `Invalid JSON payload received. Unknown name "${unknown.name}" at '${unknown.at}'`;
        const fault = contentsFault(body.contents);
        if (fault) return fault;
        if (config.logprobs !== undefined && !config.responseLogprobs) return 'logprobs needs responseLogprobs';
        if (config.responseSchema && holdsKey(config.responseSchema, 'additionalProperties')) {
            return 'Invalid JSON payload received. Unknown name "additionalProperties" at \'generation_config.response_schema\'';
        }
        if ((config.responseSchema || config.responseJsonSchema) && config.responseMimeType !== 'application/json') {
            return 'response_schema needs response_mime_type application/json';
        }
        return null;
    },

    answer(call, text, finish) {
        const promptTokens = tokensOf(call.system + call.userText);
        const completionTokens = tokensOf(text);
        call.tokens = promptTokens + completionTokens;
        const reason = { stop: 'STOP', length: 'MAX_TOKENS', filter: 'SAFETY' }[finish];
        const { candidateCount = 1, responseLogprobs, logprobs } = call.body.generationConfig ?? {};
        return {
            candidates: Array.from({ length: candidateCount }, (_, index) => ({
                content: { role: 'model', parts: [{ text: index ? `${text} (${index})` : text }] },
                finishReason: reason,
                index,
                ...(responseLogprobs ? { logprobsResult: geminiLogprobs(text, logprobs) } : {}),
            })),
            usageMetadata: {
                promptTokenCount: promptTokens,
                candidatesTokenCount: completionTokens,
                totalTokenCount: promptTokens + completionTokens,
            },
            modelVersion: call.model,
            responseId: `resp-${call.n}`,
        };
    },

    events(call, text, finish) {
        const { candidates, ...rest } = this.answer(call, text, finish);
        const pieces = piecesOf(text);
        return pieces.map((piece, i) =>
            JSON.stringify({
                candidates: [
                    {
                        ...candidates[0],
                        content: { role: 'model', parts: [{ text: piece }] },
                        finishReason: i < pieces.length - 1 ? undefined : candidates[0].finishReason,
                    },
                ],
                ...rest,
            }),
        );
    },

    error(status, message, code, retryAfter) {
        const word =
            {
                400: 'INVALID_ARGUMENT',
                401: 'UNAUTHENTICATED',
                403: 'PERMISSION_DENIED',
                404: 'NOT_FOUND',
                429: 'RESOURCE_EXHAUSTED',
                500: 'INTERNAL',
                503: 'UNAVAILABLE',
                504: 'DEADLINE_EXCEEDED',
            }[status] || 'UNKNOWN';
        const details =
            retryAfter === undefined
                ? []
                : [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${retryAfter}s` }];
        return { error: { code: status, message, status: word, details } };
    },

    filtered(call) {
        return {
            status: 200,
            body: {
                promptFeedback: { blockReason: 'PROHIBITED_CONTENT' },
                usageMetadata: { promptTokenCount: tokensOf(call.userText), totalTokenCount: tokensOf(call.userText) },
                modelVersion: call.model,
            },
        };
    },
};

const continuationOf = (prompt) => `, and so on after: ${prompt}`;

/* POST /v1/completions: several texts, each continued. */
const completions = {
    ...openai,
    name: 'completions',

    read(body) {
        const prompts = [].concat(body.prompt ?? []);
        return {
            model: body.model,
            temperature: body.temperature,
            maxTokens: body.max_tokens,
            system: '',
            userText: prompts.join('\n'),
            combined: false,
            members: prompts.map((prompt) => ({ id: null, prompt })),
        };
    },

    fault(body) {
        if (typeof body.model !== 'string' || !body.model) return 'you must provide a model parameter';
        const prompts = [].concat(body.prompt ?? []);
        return prompts.length && prompts.every((p) => typeof p === 'string') ? null : 'prompt is no text';
    },

    answer(call, text, finish) {
        const choices = call.members.map(({ prompt }, index) => ({
            index,
            text: continuationOf(prompt),
            logprobs: null,
            finish_reason: finish,
        }));
        const promptTokens = tokensOf(call.userText);
        const completionTokens = tokensOf(choices.map((choice) => choice.text).join(''));
        call.tokens = promptTokens + completionTokens;
        const usage = { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: call.tokens };
        return { id: `cmpl-${call.n}`, object: 'text_completion', created: 1, model: call.model, choices, usage };
    },

    events(call, text, finish) {
        const { choices, usage, ...rest } = this.answer(call, text, finish);
        const events = choices.flatMap(({ index, text: whole }) => [
            ...piecesOf(whole).map((piece) => ({ ...rest, choices: [{ index, text: piece, logprobs: null, finish_reason: null }] })),
            { ...rest, choices: [{ index, text: '', logprobs: null, finish_reason: finish }] },
        ]);
        if (call.body.stream_options?.include_usage) events.push({ ...rest, choices: [], usage });
        return [...events.map((event) => JSON.stringify(event)), '[DONE]'];
    },
};

/* POST /generate_batch and POST /generate of a service with one model and one kind of prompt. */
const modelService = {
    name: 'model_service',

    read(body, path) {
        const prompts = path === '/generate_batch' ? body.prompts : [body.prompt];
        const members = Array.isArray(prompts) ? prompts.map((prompt) => ({ id: null, prompt })) : [];
        return { maxTokens: body.max_new_tokens, system: '', userText: '', combined: false, members };
    },

    fault(body, path) {
        const key = path === '/generate_batch' ? 'prompts' : 'prompt';
        const unknown = Object.keys(body).find((name) => name !== key && name !== 'max_new_tokens');
        if (unknown) return `extra fields not permitted: ${unknown}`;
        if (!Number.isInteger(body.max_new_tokens) || body.max_new_tokens < 1) return 'max_new_tokens is no count';
        const texts = key === 'prompts' ? body.prompts : [body.prompt];
        return Array.isArray(texts) && texts.length && texts.every((t) => typeof t === 'string' && t)
            ? null
            : `${key} is no text`;
    },

    answer(call) {
        const texts = call.members.map(({ prompt }) => (call.echo ? `${prompt} ` : '') + answerTo(prompt));
        if (call.path === '/generate') return { generated_text: texts[0] };
        return {
            generated_texts:
                call.behaviour === 'few' ? texts.slice(1) : call.behaviour === 'many' ? [...texts, 'more'] : texts,
        };
    },

    error: (status, message) => ({ detail: message }),
    filtered: () => ({ status: 400, body: { detail: 'no' } }),
};

module.exports = { openai, gemini, completions, modelService, echoOf, answerTo, continuationOf, piecesOf, tokensOf };
