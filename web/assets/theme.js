/* The chosen theme, before anything is painted. Not a module: those run after the document. */
(function () {
    'use strict';
    let chosen = null;
    try {
        chosen = localStorage.getItem('carpool.theme');
    } catch {
        /* a browser that keeps nothing */
    }
    if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
})();
