/*
 * The page: one document with three views, chosen by the part of the address behind "#", so that a key that was typed
 * in stays in memory while one moves about. Also theme, key dialog and the notices above the views.
 */
import { $, announce, setText } from './dom.js';
import { hasKey, onKeyChange, setKey } from './api.js';
import { startHealth } from './health.js';
import * as overview from './overview.js';
import * as analytics from './analytics.js';
import * as settings from './settings.js';

/* Each view is told when it is shown and when it is left. */
const views = { overview, analytics, settings };
const titles = { overview: 'carpool', analytics: 'Analytics · carpool', settings: 'Settings · carpool' };
let current = null;

function show(name, byReader) {
    if (name === current) return;
    if (current) views[current].leave();
    current = name;
    for (const view of Object.keys(views)) $(`view-${view}`).hidden = view !== name;
    for (const link of document.querySelectorAll('[data-nav]')) {
        if (link.dataset.nav === name) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
    }
    document.title = titles[name];
    if (byReader) {
        scrollTo(0, 0);
        $('main').focus({ preventScroll: true });
        announce(titles[name].replace(' · carpool', ''));
    }
    views[name].enter();
}

const named = () => {
    const name = location.hash.slice(1);
    return Object.hasOwn(views, name) ? name : 'overview';
};

/* ---- theme ---- */

const darkSystem = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (document.documentElement.dataset.theme ?? (darkSystem.matches ? 'dark' : 'light')) === 'dark';

function showTheme() {
    $('theme-toggle').setAttribute('aria-pressed', String(isDark()));
    document.dispatchEvent(new CustomEvent('themechange'));
}

function toggleTheme() {
    const theme = isDark() ? 'light' : 'dark';
    /* The system's own theme needs no remembering. */
    const own = (theme === 'dark') !== darkSystem.matches;
    if (own) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    try {
        if (own) localStorage.setItem('carpool.theme', theme);
        else localStorage.removeItem('carpool.theme');
    } catch {
        /* a browser that keeps nothing: it holds until the page is closed */
    }
    showTheme();
}

/* ---- the key ---- */

function openKeyDialog() {
    $('key-forget').hidden = !hasKey();
    setText($('key-error'), '');
    $('key-error').hidden = true;
    $('key-input').removeAttribute('aria-invalid');
    $('key-dialog').showModal();
    $('key-input').focus();
}

function closeKeyDialog() {
    $('key-input').value = '';
    $('key-dialog').close();
}

function useKey(event) {
    event.preventDefault();
    const text = $('key-input').value.trim();
    const wrong = !text ? 'Please type or paste a key.' : /^[\x21-\x7e]+$/.test(text) ? null : 'A key has no spaces and only ASCII characters.';
    $('key-error').hidden = !wrong;
    setText($('key-error'), wrong ?? '');
    if (wrong) {
        $('key-input').setAttribute('aria-invalid', 'true');
        $('key-input').focus();
        return;
    }
    setKey(text);
    closeKeyDialog();
    announce('The key is used from now on.');
}

function showKeyState() {
    setText($('key-label'), hasKey() ? 'Key in use' : 'API key');
    $('key-dot').classList.toggle('set', hasKey());
}

function startKeys() {
    $('key-open').addEventListener('click', openKeyDialog);
    document.addEventListener('needkey', openKeyDialog);
    $('key-cancel').addEventListener('click', closeKeyDialog);
    $('key-dialog').addEventListener('close', () => ($('key-input').value = ''));
    $('key-form').addEventListener('submit', useKey);
    $('key-forget').addEventListener('click', () => {
        /* What was seen with it goes, too. */
        setKey('');
        closeKeyDialog();
        location.reload();
    });
    onKeyChange(showKeyState);
    showKeyState();
}

$('skip').addEventListener('click', (event) => {
    event.preventDefault();
    $('main').focus();
});
$('theme-toggle').addEventListener('click', toggleTheme);
darkSystem.addEventListener('change', showTheme);
showTheme();
startKeys();
startHealth();
for (const view of Object.values(views)) view.start();
addEventListener('hashchange', () => show(named(), true));
show(named(), false);
