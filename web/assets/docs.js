/*
 * /docs: Swagger UI on this server's own openapi.json. Nothing is asked of any other server, and a key entered under
 * "Authorize" stays in the memory of this page.
 */
(() => {
    'use strict';

    function tell(reason) {
        document.getElementById('reason').textContent = reason;
        document.getElementById('missing').hidden = false;
    }

    /* Swagger UI has both palettes, and this class chooses. theme.js knows what was chosen on the other pages. */
    const root = document.documentElement;
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const paint = () =>
        root.classList.toggle('dark-mode', root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches);
    dark.addEventListener('change', paint);
    paint();

    if (typeof SwaggerUIBundle === 'undefined') {
        tell('The viewer of this page is not installed: etc/setup fetches it with npm, and make puts it beside the pages.');
        return;
    }
    SwaggerUIBundle({
        url: 'openapi.json',
        dom_id: '#docs',
        presets: [SwaggerUIBundle.presets.apis],
        deepLinking: true,
        displayRequestDuration: true,
        defaultModelsExpandDepth: 0,
        persistAuthorization: false,
        queryConfigEnabled: false,
        validatorUrl: null,
        withCredentials: false,
    });
})();
