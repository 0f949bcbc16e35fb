/*
 * Settings as a flat set of fields ("high_priority.window_ms"), and the arithmetic of editing them while others may do
 * so too. Pure: what is on the page is settings.js.
 */

export const PRIORITIES = ['high', 'medium', 'low'];

/** The numbers of a priority, and their bounds (those of the server, which has the last word). */
export const NUMBERS = [
    { name: 'window_ms', title: 'Window', unit: 'ms', min: 0, max: 60000, hint: 'How long the oldest prompt of a batch waits for others.' },
    { name: 'max_batch', title: 'Batch size', unit: 'prompts', min: 1, max: 256, hint: 'A batch with this many prompts leaves at once.' },
    { name: 'tokens', title: 'Answer length', unit: 'tokens', min: 1, max: 1000000, hint: 'The most tokens an answer may have.' },
    { name: 'latency_ms', title: 'Latency target', unit: 'ms', min: 1, max: 600000, hint: 'A client waits this and 30 s at most.' },
];

export const POLICIES = [
    ['window', 'Window'],
    ['adaptive', 'Adaptive'],
];

export const TEXTS = ['provider', 'model', 'base_url'];
export const FIELDS = [...TEXTS, ...PRIORITIES.flatMap((p) => [...NUMBERS.map(({ name }) => `${p}_priority.${name}`), `${p}_priority.policy`])];

/** @param {*} document of GET /v1/settings @returns {Object<string, string|number>} */
export function flatten(document) {
    const flat = {};
    for (const field of FIELDS) {
        const [outer, inner] = field.split('.');
        flat[field] = inner ? document[outer]?.[inner] : document[outer];
    }
    return flat;
}

const boundsOf = (field) => NUMBERS.find(({ name }) => field.endsWith(`.${name}`));

/** The sentence beside the field; null: nothing is wrong with it. */
export function fault(field, value) {
    const bounds = boundsOf(field);
    if (bounds) {
        const { min, max } = bounds;
        const good = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
        return good ? null : `A whole number from ${min} to ${max}, please.`;
    }
    if (field === 'base_url') return urlFault(value);
    if (field === 'model') return [...value].some((c) => c < ' ' || c === '\x7f') ? 'Control characters cannot be part of a model name.' : null;
    return null;
}

export function urlFault(text) {
    if (text === '') return null;
    if (/[\s"<>\\^`{|}]/.test(text) || /[^\x21-\x7e]/.test(text)) return 'An address has no blanks, quotes or letters beyond ASCII.';
    if (text.startsWith('unix:/')) return text.length > 6 ? null : 'The path of the socket is missing behind unix:/';
    if (!/^https?:\/\//.test(text)) return 'Please begin with https://, http:// or unix:/ (in lower case).';
    if (/[?#]/.test(text)) return 'An address ends before ? and #.';
    if (!/^https?:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?(\/.*)?$/.test(text)) return 'A host is needed, and no user name.';
    return null;
}

export function keyFault(text) {
    if (text === '') return 'Please type or paste the key. The old one can be kept, or removed.';
    return /^[\x21-\x7e]{1,500}$/.test(text) ? null : 'A key is 1 to 500 printable ASCII characters without blanks.';
}

/**
 * What a save sends: the fields that differ from what the server has. Model and base URL belong to a provider; when
 * that changes, empty ones are left for the server to choose.
 * @param {{mode: 'keep'|'replace'|'remove', text: string}} key
 */
export function patchOf(base, form, key) {
    const patch = {};
    const moved = base.provider !== form.provider;
    for (const field of FIELDS) {
        const own = moved && (field === 'model' || field === 'base_url');
        if (own ? form[field] === '' : form[field] === base[field]) continue;
        const [outer, inner] = field.split('.');
        if (inner) (patch[outer] ??= {})[inner] = form[field];
        else patch[outer] = form[field];
    }
    if (key.mode === 'remove') patch.api_key = '';
    if (key.mode === 'replace' && key.text !== '') patch.api_key = key.text;
    return patch;
}

/** How many fields a patch changes. */
export const sizeOf = (patch) =>
    Object.values(patch).reduce((n, value) => n + (typeof value === 'object' ? Object.keys(value).length : 1), 0);

/**
 * Takes in what the server has now. Fields that were not edited here follow it; of those that were, the ones that also
 * changed there are conflicts, and keep what was typed.
 * @returns {{form: Object, conflicts: string[], followed: string[]}}
 */
export function rebase(base, form, theirs) {
    const merged = { ...form };
    const conflicts = [], followed = [];
    for (const field of FIELDS) {
        if (theirs[field] === base[field]) continue;
        if (form[field] === base[field]) {
            merged[field] = theirs[field];
            followed.push(field);
        } else if (form[field] !== theirs[field]) conflicts.push(field);
    }
    return { form: merged, conflicts, followed };
}

/** Scheme, host and port: what a stored key belongs to. */
export const hostOf = (url) => url.match(/^(https?:\/\/[^/]*|unix:.*)/)?.[1].toLowerCase() ?? '';
