// What a hand does: wheel, drag, touch and keys.
import { clamp } from './geometry.js';

const FINE = 5, COARSE = 50; // Hounsfield units a key press

// Wire one pane of the viewer.
export function listen(viewer, pane) {
  const { node, canvas } = pane;
  const held = new Map(); // pointers that are down
  let drag = null;
  node.addEventListener('pointerdown', (event) => {
    if (!pane.study || !viewer.study) return;
    canvas.focus({ preventScroll: true });
    viewer.activate(pane);
    node.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event);
    drag = held.size === 1 ? begin(viewer, pane, event) : pinch(viewer, pane, [...held.values()]);
    event.preventDefault();
  });
  node.addEventListener('pointermove', (event) => {
    if (!viewer.study) return;
    if (held.has(event.pointerId)) {
      held.set(event.pointerId, event);
      drag?.(event, [...held.values()]);
    }
    viewer.probe(pane, event.clientX, event.clientY);
  });
  for (const name of ['pointerup', 'pointercancel']) {
    node.addEventListener(name, (event) => { held.delete(event.pointerId); drag = null; });
  }
  node.addEventListener('pointerleave', () => { pane.readout.textContent = ''; });
  node.addEventListener('contextmenu', (event) => event.preventDefault());
  node.addEventListener('wheel', (event) => {
    if (!viewer.study) return;
    event.preventDefault();
    viewer.activate(pane);
    if (event.ctrlKey || event.metaKey) zoom(viewer, pane, Math.exp(-event.deltaY / 300), event);
    else viewer.go(viewer.slice + Math.sign(event.deltaY));
  }, { passive: false });
  canvas.addEventListener('focus', () => { if (viewer.study) viewer.activate(pane); });
  canvas.addEventListener('keydown', (event) => {
    if (viewer.study && press(viewer, event)) event.preventDefault();
  });
}

function zoom(viewer, pane, factor, { clientX, clientY }) {
  pane.zoomAt(factor, clientX, clientY);
  viewer.later();
}

// What moving the pointer does from now on.
function begin(viewer, pane, event) {
  const kind = event.button === 2 ? 'window' : event.button === 1 || event.shiftKey ? 'pan' : viewer.mode;
  return { crosshair: point, window: grade, slice: leaf, pan, ruler: measure }[kind](viewer, pane, event);
}

function point(viewer, pane, event) {
  const follow = (now) => {
    const { index } = pane.voxelAt(pane.toSlice(now.clientX, now.clientY), pane.study.indexOf(viewer.point).index);
    if (pane.study === viewer.study) viewer.lookAt(index);
    else viewer.lookAt(viewer.study.indexOf(pane.study.pointOf(index)).index);
  };
  if (event.pointerType === 'touch') return leaf(viewer, pane, event);
  follow(event);
  return follow;
}

function grade(viewer, _pane, { clientX, clientY }) {
  const { width, level } = viewer, gain = Math.max(0.5, width / 250);
  return (now) => viewer.setWindow(width + (now.clientX - clientX) * gain, level + (now.clientY - clientY) * gain);
}

function leaf(viewer, pane, { clientY }) {
  const first = viewer.slice, pixels = clamp((0.7 * pane.size[1]) / viewer.slices, 2, 12);
  return (now) => viewer.go(clamp(first + Math.round((now.clientY - clientY) / pixels), 0, viewer.slices - 1));
}

function pan(viewer, pane, { clientX, clientY }) {
  let before = [clientX, clientY];
  return (now) => {
    pane.move((now.clientX - before[0]) / pane.scale, (now.clientY - before[1]) / pane.scale);
    before = [now.clientX, now.clientY];
    viewer.later();
  };
}

function measure(viewer, pane, { clientX, clientY }) {
  const from = pane.toSlice(clientX, clientY);
  pane.ruler = null;
  viewer.later();
  return (now) => {
    pane.ruler = { from, to: pane.toSlice(now.clientX, now.clientY), slice: viewer.slice };
    viewer.later();
  };
}

// Two fingers: apart or together zooms, both moving pans.
function pinch(viewer, pane, pointers) {
  const of = ([a, b]) => ({
    apart: Math.max(1, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY)),
    clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2,
  });
  let before = of(pointers);
  return (_, both) => {
    if (both.length < 2) return;
    const now = of(both);
    pane.move((now.clientX - before.clientX) / pane.scale, (now.clientY - before.clientY) / pane.scale);
    zoom(viewer, pane, now.apart / before.apart, now);
    before = now;
  };
}

// A key, pressed while a pane has the focus; whether it meant something.
function press(viewer, event) {
  const { key } = event, step = event.shiftKey ? COARSE : event.ctrlKey ? FINE : 0;
  if (step && key.startsWith('Arrow')) return regrade(viewer, key, step);
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const slices = {
    ArrowUp: viewer.slice - 1, ArrowLeft: viewer.slice - 1, ArrowDown: viewer.slice + 1, ArrowRight: viewer.slice + 1,
    PageUp: viewer.slice - 10, PageDown: viewer.slice + 10, Home: 0, End: viewer.slices - 1,
  };
  if (key in slices) viewer.go(slices[key]);
  else if (/^[1-9]$/.test(key)) viewer.preset(Number(key) - 1);
  else return viewer.tools.press(key);
  return true;
}

function regrade(viewer, key, step) {
  const { width, level } = viewer;
  const [wider, higher] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[key];
  viewer.setWindow(width + wider, level + higher);
  return true;
}
