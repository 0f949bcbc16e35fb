/* An error in the place where something should be: a sentence, and what one can do about it. */
import { h } from './dom.js';

const titles = {
    offline: 'You are offline',
    away: 'The server is away',
    slow: 'The server is slow',
    stopped: 'Stopped',
    key: 'A key is needed',
    forbidden: 'Not allowed',
    busy: 'Not just now',
    refused: 'That did not work',
    broken: 'That is not carpool',
};

/**
 * @param {import('./api.js').ApiError} error
 * @param {() => void} [retry]
 * @param {string} [note] a sentence more
 */
export function problem(error, retry, note) {
    const wantsKey = error.kind === 'key' || error.kind === 'forbidden';
    return h(`div.problem.${error.kind}`, { role: 'alert' },
        h('p', null, h('strong', null, `${titles[error.kind] ?? titles.refused}.`), ` ${error.message}`, note ? ` ${note}` : null,
            error.retryAfter ? ` It asks to wait ${error.retryAfter} s.` : null),
        h('div.buttons', null,
            wantsKey ? h('button.primary.small', { type: 'button', onclick: () => document.dispatchEvent(new Event('needkey')) }, 'Enter a key') : null,
            retry ? h('button.small', { type: 'button', onclick: retry }, 'Try again') : null));
}

/**
 * Shows an error in a place, or clears the place. The same error again is left alone, so that it is not read out every
 * few seconds and a focused button stays where it is.
 */
export function showProblem(place, error, retry, note) {
    const sign = error ? `${error.kind} ${error.message} ${note ?? ''}` : '';
    if (place.dataset.shown === sign) return;
    place.dataset.shown = sign;
    const hadFocus = place.contains(document.activeElement);
    place.replaceChildren(...(error ? [problem(error, retry, note)] : []));
    if (hadFocus) (place.querySelector('button') ?? document.getElementById('main')).focus({ preventScroll: true });
}
