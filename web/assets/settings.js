/*
 * Settings: the form and its life. What it saves is what differs from the server's settings; what changed there
 * meanwhile is noticed while the view is open, when the tab comes back, and before anything is overwritten.
 */
import { $, announce, h, setFieldError, setText } from './dom.js';
import { getSettings, onKeyChange, putSettings } from './api.js';
import { count, timeOfDay } from './format.js';
import { poll } from './poll.js';
import { showProblem } from './problem.js';
import { FIELDS, NUMBERS, POLICIES, PRIORITIES, fault, flatten, hostOf, keyFault, patchOf, rebase, sizeOf } from './settings-model.js';

const capital = (word) => word[0].toUpperCase() + word.slice(1);
const usual = { mock: 'It answers "Processed: " and the prompt: for trying things out.', gemini: "Google's API; it needs a key.", openai: 'It needs a key, unless the server at the base URL asks for none.', model_service: 'A server such as llama.cpp, on this machine or another.' };

let base = null; /* the server's settings, flat; null: not loaded */
let mask = '';
let key = { mode: 'keep' };
let conflicts = new Map(); /* field -> the server's value */
let saving = false;
let checker = null;
let pressing = false; /* a finger or a mouse button is down */
const others = 'BroadcastChannel' in globalThis ? new BroadcastChannel('carpool-settings') : null;

const input = (field) => $(`f-${field}`);
const isNumber = (field) => input(field).type === 'number';
const valueOf = (field) => (isNumber(field) ? (input(field).value === '' ? null : input(field).valueAsNumber) : input(field).value.trim());
const formValues = () => Object.fromEntries(FIELDS.map((field) => [field, valueOf(field)]));
const keyState = () => ({ mode: key.mode, text: input('api_key').value.trim() });
const patch = () => patchOf(base, formValues(), keyState());
const isDirty = () => base !== null && (sizeOf(patch()) > 0 || key.mode === 'replace');

/* ---- what is shown ---- */

function priorityField(priority, { name, min, max }, groupId) {
    const id = `f-${priority}_priority.${name}`;
    const control = name === 'policy'
        ? h('select', { id, name: `${priority}_priority.${name}`, 'aria-describedby': `${id}-error` }, POLICIES.map(([value, text]) => h('option', { value }, text)))
        : h('input', { id, name: `${priority}_priority.${name}`, type: 'number', inputmode: 'numeric', min, max, step: 1, required: true, 'aria-describedby': `${groupId}-hint ${id}-error` });
    return h('div.field', null, h('label', { for: id }, h(`span.chip.${priority}`, null, capital(priority))), control, h('p.field-error', { id: `${id}-error`, hidden: true }));
}

function buildPriorities() {
    const groups = [...NUMBERS, { name: 'policy', title: 'Policy', hint: 'Adaptive sends a prompt at once while the provider is idle; window always waits.' }];
    $('priorities').replaceChildren(h('section.card', { 'aria-labelledby': 'priorities-title' },
        h('h2', { id: 'priorities-title' }, 'Priorities'),
        groups.map((group) => {
            const id = `g-${group.name}`;
            return h('div.setting', { role: 'group', 'aria-labelledby': id },
                h('div', null, h('h3', { id }, group.title, group.unit ? h('span.unit', null, ` ${group.unit}`) : null), h('p.hint', { id: `${id}-hint` }, group.hint)),
                h('div.setting-fields', null, PRIORITIES.map((p) => priorityField(p, group, id))));
        })));
}

function showConflict(field) {
    const place = input(field).closest('.field');
    place.querySelector('.theirs')?.remove();
    if (!conflicts.has(field)) return;
    const value = conflicts.get(field);
    const take = h('button.small', { type: 'button', onclick: () => {
        fill(field, value);
        conflicts.delete(field);
        showConflict(field);
        input(field).focus();
        refresh();
    } }, 'Take it');
    place.append(h('div.theirs', null, h('span', null, `Changed elsewhere to ${value === '' ? 'nothing' : value}.`), take));
}

function fill(field, value) {
    const target = input(field);
    if (target.value !== String(value ?? '')) target.value = value ?? '';
    setFieldError(target, null);
}

function showKey() {
    const editing = key.mode === 'replace';
    $('key-shown').hidden = editing;
    $('key-edit').hidden = !editing;
    setText($('key-mask'), key.mode === 'remove' ? 'will be removed' : mask ? `ends in ${mask.replace(/^\*+/, '') || '…'}` : 'none');
    setText($('key-replace'), mask && key.mode !== 'remove' ? 'Replace' : key.mode === 'remove' ? 'Keep it' : 'Set a key');
    $('key-remove').hidden = !mask || key.mode === 'remove';
}

/* A key is for the place it was given for. */
function showKeyHint() {
    const moved = base && (valueOf('provider') !== base.provider || hostOf(valueOf('base_url')) !== hostOf(base.base_url));
    setText($('f-api_key-hint'), moved && mask && key.mode === 'keep'
        ? 'The key belongs to the provider and address it was given for: a new one needs its key again.'
        : 'It is stored on the server and never shown again.');
    setText($('f-provider-hint'), usual[valueOf('provider')] ?? '');
}

/* The bar, the dot in the menu, the hints: all that follows from what is in the form. */
function refresh() {
    if (!base) return;
    const n = isDirty() ? Math.max(1, sizeOf(patch())) : 0;
    $('save-bar').hidden = n === 0;
    $('unsaved-dot').hidden = n === 0;
    if (n) {
        setText($('save-text'), conflicts.size
            ? `${count(n, 'unsaved change', 'unsaved changes')}; ${count(conflicts.size, 'field was', 'fields were')} changed elsewhere meanwhile. Saving overwrites that.`
            : count(n, 'unsaved change', 'unsaved changes'));
        setText($('settings-save'), conflicts.size ? 'Overwrite' : 'Save');
        setText($('settings-status'), '');
    }
    showKey();
    showKeyHint();
}

/** The form as the server has it; nothing is unsaved then. */
function showDocument(document) {
    base = flatten(document);
    mask = document.api_key;
    key = { mode: 'keep' };
    input('api_key').value = '';
    setFieldError(input('api_key'), null);
    conflicts = new Map();
    for (const field of FIELDS) {
        fill(field, base[field]);
        showConflict(field);
    }
    $('settings-form').hidden = false;
    $('settings-form').setAttribute('aria-busy', 'false');
    refresh();
}

/* ---- what others change ---- */

/* @returns {boolean} whether a field that was edited here was changed there, and nobody was told yet */
function takeIn(document) {
    if (!base) {
        showDocument(document);
        return false;
    }
    const theirs = flatten(document);
    const keyChanged = document.api_key !== mask;
    const { form, conflicts: found, followed } = rebase(base, formValues(), theirs);
    base = theirs;
    mask = document.api_key;
    for (const field of followed) fill(field, form[field]);
    for (const field of found) conflicts.set(field, theirs[field]);
    for (const field of [...conflicts.keys()]) {
        if (valueOf(field) === theirs[field]) conflicts.delete(field);
        showConflict(field);
    }
    const sentence = found.length ? 'Settings that you are changing were changed elsewhere.'
        : followed.length || keyChanged ? 'Settings were changed elsewhere; you see them as they are now.' : null;
    if (sentence) {
        refresh();
        setText($('settings-status'), sentence);
    }
    return found.length > 0;
}

async function check(signal) {
    if (saving) return;
    try {
        const document = await getSettings(signal);
        if (saving) return;
        takeIn(document);
        showProblem($('settings-problem'), null);
    } catch (error) {
        if (error.kind === 'stopped') return;
        showProblem($('settings-problem'), error, () => checker.now(), base ? 'What you see may be out of date.' : null);
        throw error;
    }
}

/* ---- saving ---- */

/* Marks what is wrong. @returns {HTMLElement|null} the first field that is */
function firstFault() {
    let first = null;
    const mark = (target, sentence) => {
        setFieldError(target, sentence);
        if (sentence) first ??= target;
    };
    for (const field of FIELDS) mark(input(field), fault(field, valueOf(field)));
    mark(input('api_key'), key.mode === 'replace' ? keyFault(keyState().text) : null);
    return first;
}

/* What the server refuses stands beside the field it names. */
function showRefusal(error) {
    const field = error.field && (FIELDS.includes(error.field) || error.field === 'api_key') ? error.field : null;
    if (!field) {
        showProblem($('settings-problem'), error, save);
        return;
    }
    if (field === 'api_key' || (mask && key.mode === 'keep' && (field === 'base_url' || field === 'provider') && /key/.test(error.message))) {
        key = { mode: 'replace' };
        refresh();
    }
    setFieldError(input(field), error.message);
    input(field).focus();
    announce(error.message);
}

async function put(change) {
    try {
        showDocument(await putSettings(change));
        setText($('settings-status'), `Saved at ${timeOfDay(Date.now())}, and in force.`);
        others?.postMessage('changed');
        document.dispatchEvent(new Event('settingssaved'));
    } catch (error) {
        showRefusal(error);
    }
}

async function save() {
    if (saving || !base) return;
    const wrong = firstFault();
    if (wrong) {
        wrong.focus();
        announce('Something has to be put right before it can be saved.');
        return;
    }
    if (!isDirty()) return;
    saving = true;
    $('settings-save').setAttribute('aria-disabled', 'true');
    setText($('save-text'), 'Saving…');
    showProblem($('settings-problem'), null);
    try {
        const news = takeIn(await getSettings());
        if (news) announce('Not saved: the fields marked were changed elsewhere meanwhile. Save again to overwrite.');
        else await put(patch());
    } catch (error) {
        showProblem($('settings-problem'), error, save, 'Nothing was saved.');
    } finally {
        saving = false;
        $('settings-save').removeAttribute('aria-disabled');
        refresh();
    }
}

function discard() {
    for (const field of FIELDS) fill(field, base[field]);
    conflicts.clear();
    FIELDS.forEach(showConflict);
    closeKey();
    showProblem($('settings-problem'), null);
    refresh();
    setText($('settings-status'), 'Changes are discarded.');
    $('settings-title').setAttribute('tabindex', '-1');
    $('settings-title').focus();
}

/* ---- what is typed ---- */

function closeKey() {
    key = { mode: 'keep' };
    input('api_key').value = '';
    setFieldError(input('api_key'), null);
}

function replaceKey() {
    const undo = key.mode === 'remove';
    key = { mode: undo ? 'keep' : 'replace' };
    refresh();
    (undo ? $('key-replace') : input('api_key')).focus();
}

/* Model and address of one provider mean nothing to another. */
function providerChanged() {
    const back = valueOf('provider') === base.provider;
    for (const field of ['model', 'base_url']) {
        if (back && valueOf(field) === '') fill(field, base[field]);
        else if (!back && valueOf(field) === base[field]) fill(field, '');
    }
}

function edited(event) {
    const { name } = event.target;
    if (name === 'provider' && event.type === 'change') providerChanged();
    if (event.target.getAttribute('aria-invalid')) {
        const sentence = name === 'api_key' ? keyFault(keyState().text) : fault(name, valueOf(name));
        setFieldError(event.target, sentence);
    }
    refresh();
}

/*
 * Leaving a field is early enough to hear that something is wrong with it. Not while a button is being pressed: the
 * sentence moves what is below it, and the press would end beside the button and count for nothing.
 */
function left({ target }) {
    const judge = () => {
        if (FIELDS.includes(target.name) && valueOf(target.name) !== base[target.name]) setFieldError(target, fault(target.name, valueOf(target.name)));
    };
    if (pressing) addEventListener('pointerup', () => setTimeout(judge), { once: true });
    else judge();
}

export function start() {
    buildPriorities();
    checker = poll(check, 10000);
    const form = $('settings-form');
    form.addEventListener('input', edited);
    form.addEventListener('change', edited);
    form.addEventListener('focusout', left);
    addEventListener('pointerdown', () => (pressing = true), true);
    for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => (pressing = false), true);
    form.addEventListener('submit', (event) => {
        event.preventDefault();
        save();
    });
    $('settings-discard').addEventListener('click', discard);
    $('key-replace').addEventListener('click', replaceKey);
    $('key-keep').addEventListener('click', () => {
        closeKey();
        refresh();
        $('key-replace').focus();
    });
    $('key-remove').addEventListener('click', () => {
        key = { mode: 'remove' };
        refresh();
        $('key-replace').focus();
    });
    addEventListener('beforeunload', (event) => {
        if (isDirty()) event.preventDefault();
    });
    addEventListener('focus', () => checker.running && !saving && checker.now());
    others?.addEventListener('message', () => checker.running && checker.now());
    onKeyChange(() => checker.running && checker.now());
}

export function enter() {
    checker.start();
}

export function leave() {
    checker.stop();
}
