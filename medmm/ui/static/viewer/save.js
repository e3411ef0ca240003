// The view as a picture to take away, with what it is and what it is not for burned into it.
const BAND = 44, INK = '#f2e6b8';

export function picture(viewer, told) {
  const { stage, words } = viewer, dots = window.devicePixelRatio || 1;
  const canvas = document.createElement('canvas');
  canvas.width = stage.clientWidth * dots;
  canvas.height = (stage.clientHeight + BAND) * dots;
  const ink = canvas.getContext('2d');
  ink.scale(dots, dots);
  ink.fillRect(0, 0, stage.clientWidth, stage.clientHeight + BAND);
  for (const pane of viewer.shown) copy(ink, pane);
  write(ink, words.research_only, 10, stage.clientHeight + 18);
  write(ink, told, 10, stage.clientHeight + 36);
  return canvas;
}

function copy(ink, pane) {
  const { offsetLeft, offsetTop, clientWidth, clientHeight } = pane.node;
  ink.save();
  ink.beginPath();
  ink.rect(offsetLeft, offsetTop, clientWidth, clientHeight);
  ink.clip();
  ink.translate(offsetLeft, offsetTop);
  for (const layer of [pane.canvas, pane.colours, pane.marks]) {
    if (!layer.width || layer.hidden || layer.style.visibility === 'hidden') continue;
    ink.globalAlpha = Number(layer.style.opacity || 1);
    ink.drawImage(layer, layer.offsetLeft, layer.offsetTop, layer.clientWidth, layer.clientHeight);
  }
  ink.globalAlpha = 1;
  for (const node of [...pane.letters, pane.name]) write(ink, node.textContent, node.offsetLeft, node.offsetTop + 13);
  ink.restore();
}

function write(ink, text, x, y) {
  ink.font = '600 13px system-ui, sans-serif';
  ink.lineWidth = 3;
  ink.strokeText(text, x, y);
  ink.fillStyle = INK;
  ink.fillText(text, x, y);
}

export function save(viewer, told) {
  picture(viewer, told).toBlob((blob) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = 'medmm-view.png';
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
