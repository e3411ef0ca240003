// Where displayed voxels lie. Axes of a volume as sent: 0 columns (to Left), 1 rows (to Posterior), 2 slices (to Superior).
// Points are millimetres in DICOM's patient space (LPS+); an affine takes (column, row, slice) to such a point.

// For each plane: which axis runs across, down and through, whether down is shown upwards, the letters at the
// left, right, upper and lower edge, and the name of the coordinate that its slices differ in.
export const PLANES = {
  axial: { across: 0, down: 1, through: 2, upward: false, letters: ['R', 'L', 'A', 'P'], coordinate: 'z' },
  coronal: { across: 0, down: 2, through: 1, upward: true, letters: ['R', 'L', 'S', 'I'], coordinate: 'y' },
  sagittal: { across: 1, down: 2, through: 0, upward: true, letters: ['A', 'P', 'S', 'I'], coordinate: 'x' },
};

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export function apply(affine, [i, j, k]) {
  return [0, 1, 2].map((r) => affine[r][0] * i + affine[r][1] * j + affine[r][2] * k + affine[r][3]);
}

export function inverse(affine) {
  const [a, b, c] = affine;
  const cofactors = [
    [b[1] * c[2] - b[2] * c[1], a[2] * c[1] - a[1] * c[2], a[1] * b[2] - a[2] * b[1]],
    [b[2] * c[0] - b[0] * c[2], a[0] * c[2] - a[2] * c[0], a[2] * b[0] - a[0] * b[2]],
    [b[0] * c[1] - b[1] * c[0], a[1] * c[0] - a[0] * c[1], a[0] * b[1] - a[1] * b[0]],
  ];
  const determinant = a[0] * cofactors[0][0] + a[1] * cofactors[1][0] + a[2] * cofactors[2][0];
  const rows = cofactors.map((row) => row.map((value) => value / determinant));
  const shift = [a[3], b[3], c[3]];
  return [...rows.map((row) => [...row, -row.reduce((sum, value, n) => sum + value * shift[n], 0)]), [0, 0, 0, 1]];
}

export function product(left, right) {
  return left.map((row) => [0, 1, 2, 3].map((c) => row.reduce((sum, value, n) => sum + value * right[n][c], 0)));
}
