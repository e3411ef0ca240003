// Gradio's upload bar closes a stream that cannot be closed, and warns of itself each time; that says nothing about this page.
const warn = console.warn;
console.warn = (...words) => { if (words[0] !== 'Method not implemented.') warn.apply(console, words); };

// The viewer itself is in the modules beside this file, in the folder `viewer`; its pixels come from `PACK_ROUTE`.
import(new URL('gradio_api/medmm/viewer/viewer.js', document.baseURI).href).then(({ start }) => start(element, props, watch));
