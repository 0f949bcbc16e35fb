/* Elements by id and by description, and the voice of the page for screen readers. */

/** @param {string} id @returns {HTMLElement} */
export const $ = (id) => document.getElementById(id);

/**
 * An element. Texts become text nodes, so nothing that a user or a model wrote is ever read as HTML.
 * @param {string} tag "td.num.wide": with classes
 * @param {Object<string, *>} [attributes] on…: a listener; null, undefined, false: left out
 * @param {...(Node|string|number|null|undefined|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes, ...children) {
    const [name, ...classes] = tag.split('.');
    const element = document.createElement(name);
    if (classes.length) element.className = classes.join(' ');
    for (const [key, value] of Object.entries(attributes ?? {})) {
        if (value === null || value === undefined || value === false) continue;
        if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
        else element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined).map((c) => (c instanceof Node ? c : String(c))));
    return element;
}

/** Sets a text only when it differs, so that a live region is not read out again. */
export function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

/** Says a sentence to screen readers, also one that was said before. */
export function announce(sentence) {
    const voice = $('announcer');
    voice.textContent = '';
    setTimeout(() => (voice.textContent = sentence), 50);
}

/** Shows or takes away the sentence beside a field; input and its "-error" paragraph belong together by id. */
export function setFieldError(input, sentence) {
    const place = $(`${input.id}-error`);
    setText(place, sentence ?? '');
    place.hidden = !sentence;
    if (sentence) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
}
