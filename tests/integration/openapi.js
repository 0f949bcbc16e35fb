'use strict';
/*
 * Holds responses to web/openapi.json: a checker for the part of JSON Schema 2020-12 that the document uses.
 * A keyword it does not know is an error, so that nothing goes unchecked without anybody noticing.
 * The client in http_client.js calls it for every response of every test.
 */
const fs = require('node:fs');
const path = require('node:path');

const FILE = path.join(__dirname, '..', '..', 'web', 'openapi.json');
const ANNOTATIONS = new Set([
    '$ref',
    'title',
    'description',
    'default',
    'example',
    'examples',
    'deprecated',
    'readOnly',
    'writeOnly',
    '$comment',
    'contentMediaType',
    'contentEncoding',
    '$schema',
    '$id',
    '$defs',
    'then',
    'else',
    'externalDocs',
]);
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;
const FORMATS = {
    'date-time': (v) => RFC3339.test(v) && !Number.isNaN(Date.parse(v)),
    date: (v) => /^\d{4}-\d\d-\d\d$/.test(v) && !Number.isNaN(Date.parse(v)),
    uuid: (v) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(v),
    uri: (v) => URL.canParse(v),
    'uri-reference': (v) => URL.canParse(v, 'http://x'),
    int32: () => true,
    int64: () => true,
    double: () => true,
    float: () => true,
    password: () => true,
};

const typeOf = (v) => (v === null ? 'null' : Array.isArray(v) ? 'array' : typeof v);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const length = (v) => [...v].length;

/* keyword -> (argument, value, schema, at, recurse) -> list of faults. recurse(schema, value, at) does the same for a sub-schema. */
const KEYWORDS = {
    type: (t, v, s, at) =>
        [].concat(t).some((name) => name === typeOf(v) || (name === 'integer' && Number.isInteger(v)))
            ? []
            : [`${at} is ${typeOf(v)}, not ${[].concat(t).join(' or ')}`],
    enum: (list, v, s, at) =>
        list.some((x) => same(x, v)) ? [] : [`${at} is ${JSON.stringify(v)}, none of ${JSON.stringify(list)}`],
    const: (x, v, s, at) => (same(x, v) ? [] : [`${at} is ${JSON.stringify(v)}, not ${JSON.stringify(x)}`]),
    properties: (props, v, s, at, recurse) =>
        typeOf(v) !== 'object'
            ? []
            : Object.keys(props)
                  .filter((k) => Object.hasOwn(v, k))
                  .flatMap((k) => recurse(props[k], v[k], `${at}.${k}`)),
    required: (names, v, s, at) =>
        typeOf(v) !== 'object' ? [] : names.filter((k) => !Object.hasOwn(v, k)).map((k) => `${at}.${k} is missing`),
    additionalProperties: (rule, v, s, at, recurse) =>
        typeOf(v) !== 'object'
            ? []
            : Object.keys(v)
                  .filter((k) => !Object.hasOwn(s.properties || {}, k))
                  .flatMap((k) => recurse(rule, v[k], `${at}.${k}`)),
    propertyNames: (rule, v, s, at, recurse) =>
        typeOf(v) !== 'object' ? [] : Object.keys(v).flatMap((k) => recurse(rule, k, `${at} key ${k}`)),
    minProperties: (n, v, s, at) =>
        typeOf(v) !== 'object' || Object.keys(v).length >= n ? [] : [`${at} has too few keys`],
    maxProperties: (n, v, s, at) =>
        typeOf(v) !== 'object' || Object.keys(v).length <= n ? [] : [`${at} has too many keys`],
    items: (rule, v, s, at, recurse) => (Array.isArray(v) ? v.flatMap((x, i) => recurse(rule, x, `${at}[${i}]`)) : []),
    minItems: (n, v, s, at) =>
        !Array.isArray(v) || v.length >= n ? [] : [`${at} has ${v.length} items, fewer than ${n}`],
    maxItems: (n, v, s, at) =>
        !Array.isArray(v) || v.length <= n ? [] : [`${at} has ${v.length} items, more than ${n}`],
    minimum: (n, v, s, at) => (typeof v !== 'number' || v >= n ? [] : [`${at} is ${v}, below ${n}`]),
    maximum: (n, v, s, at) => (typeof v !== 'number' || v <= n ? [] : [`${at} is ${v}, above ${n}`]),
    exclusiveMinimum: (n, v, s, at) => (typeof v !== 'number' || v > n ? [] : [`${at} is ${v}, not above ${n}`]),
    exclusiveMaximum: (n, v, s, at) => (typeof v !== 'number' || v < n ? [] : [`${at} is ${v}, not below ${n}`]),
    minLength: (n, v, s, at) => (typeof v !== 'string' || length(v) >= n ? [] : [`${at} is shorter than ${n}`]),
    maxLength: (n, v, s, at) => (typeof v !== 'string' || length(v) <= n ? [] : [`${at} is longer than ${n}`]),
    pattern: (p, v, s, at) =>
        typeof v !== 'string' || new RegExp(p, 'u').test(v) ? [] : [`${at} ${JSON.stringify(v)} does not match ${p}`],
    format: (f, v, s, at) => {
        if (!FORMATS[f]) throw new Error(`format ${f} is not known to the checker (${at})`);
        return typeof v !== 'string' || FORMATS[f](v) ? [] : [`${at} ${JSON.stringify(v)} is no ${f}`];
    },
    allOf: (list, v, s, at, recurse) => list.flatMap((rule) => recurse(rule, v, at)),
    anyOf: (list, v, s, at, recurse) => {
        const faults = list.map((rule) => recurse(rule, v, at));
        return faults.some((f) => !f.length) ? [] : [`${at} fits none of anyOf: ${faults.map((f) => f[0]).join('; ')}`];
    },
    oneOf: (list, v, s, at, recurse) => {
        const faults = list.map((rule) => recurse(rule, v, at));
        const fitting = faults.filter((f) => !f.length).length;
        return fitting === 1 ? [] : [`${at} fits ${fitting} of oneOf: ${faults.map((f) => f[0]).join('; ')}`];
    },
    not: (rule, v, s, at, recurse) => (recurse(rule, v, at).length ? [] : [`${at} fits what it must not fit`]),
    if: (rule, v, s, at, recurse) => {
        const branch = recurse(rule, v, at).length ? s.else : s.then;
        return branch === undefined ? [] : recurse(branch, v, at);
    },
};

class OpenApi {
    constructor(document) {
        this.document = document;
        this.seen = new Map(); /* "METHOD /template status" -> how often it was checked */
    }

    /* null while there is no document with paths; openapi.test.js then fails. */
    static load() {
        const document = fs.existsSync(FILE) ? JSON.parse(fs.readFileSync(FILE, 'utf8')) : {};
        return document.paths ? new OpenApi(document) : null;
    }

    resolve(node) {
        let depth = 0;
        while (node && typeof node === 'object' && typeof node.$ref === 'string') {
            if (!node.$ref.startsWith('#/') || depth++ > 20) throw new Error(`$ref ${node.$ref} cannot be followed`);
            node = node.$ref
                .slice(2)
                .split('/')
                .reduce((at, key) => at?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], this.document);
            if (node === undefined) throw new Error('a $ref leads nowhere');
        }
        return node;
    }

    /* What is wrong with a value, as sentences. */
    validate(schema, value, at = '$') {
        if (schema === true) return [];
        if (schema === false) return [`${at} must not be there`];
        const faults = schema.$ref ? this.validate(this.resolve(schema), value, at) : [];
        for (const [keyword, argument] of Object.entries(schema)) {
            if (ANNOTATIONS.has(keyword) || keyword.startsWith('x-')) continue;
            if (!KEYWORDS[keyword]) throw new Error(`keyword ${keyword} is not known to the checker (${at})`);
            faults.push(...KEYWORDS[keyword](argument, value, schema, at, (s, v, where) => this.validate(s, v, where)));
        }
        return faults;
    }

    template(pathname) {
        if (this.document.paths[pathname]) return pathname;
        return Object.keys(this.document.paths).find(
            (t) =>
                t.includes('{') &&
                new RegExp(`^${t.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{[^}]+\}/g, '[^/]+')}$`).test(pathname),
        );
    }

    /* The faults of a response; headers in lower case. Paths outside the document must be errors of the native shape. */
    check(method, target, status, headers, text) {
        const pathname = target.split('?')[0];
        const template = this.template(pathname);
        const operation = template && this.document.paths[template][method.toLowerCase()];
        const where = `${method} ${template ?? pathname} ${status}`;
        if (!operation) return this.#checkError(where, status, headers, text);
        const { responses } = operation;
        const response = this.resolve(
            responses[status] ?? responses[`${Math.floor(status / 100)}XX`] ?? responses.default,
        );
        if (!response) return [`${where} is not documented`];
        const key = `${method} ${template} ${status}`;
        this.seen.set(key, (this.seen.get(key) ?? 0) + 1);
        const faults = Object.entries(response.headers ?? {})
            .filter(([name, h]) => this.resolve(h).required && headers[name.toLowerCase()] === undefined)
            .map(([name]) => `${where}: header ${name} is missing`);
        const type = (headers['content-type'] ?? '').split(';')[0].trim();
        const media = response.content?.[type];
        if (!response.content) return text ? [...faults, `${where}: a body that is not documented`] : faults;
        if (!media) return [...faults, `${where}: content type ${type || 'absent'} is not documented`];
        if (media.schema && /json$/.test(type)) faults.push(...this.#checkJson(where, media.schema, text));
        return faults;
    }

    #checkJson(where, schema, text) {
        let value;
        try {
            value = JSON.parse(text);
        } catch (e) {
            return [`${where}: not JSON: ${e.message}`];
        }
        return this.validate(schema, value).map((fault) => `${where}: ${fault}`);
    }

    #checkError(where, status, headers, text) {
        if (status < 400 || !/json/.test(headers['content-type'] ?? '')) return [];
        const schema = this.document.components?.schemas?.Error;
        return schema ? this.#checkJson(where, schema, text) : [];
    }
}

module.exports = { OpenApi };
