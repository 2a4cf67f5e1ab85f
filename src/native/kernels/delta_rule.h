// The gated delta rule, one token of one head (vblocks/step/delta.py is its readable form). Lanes are columns of S, so a
// column's operations are the same wherever it lies. Included once per instruction set.
namespace vortex::VORTEX_ISA {

// G times 16 columns from `first` on.
template <int G>
VORTEX_INLINE void delta_columns(const DeltaToken& t, int64_t first) {
  const W decay = wset(t.decay);
  W seen[G], error[G], out[G];
  for (int g = 0; g < G; g++) seen[g] = out[g] = wset(0);
  float* row = t.matrix + first;
  for (int64_t i = 0; i < t.key_dim; i++, row += t.value_dim) {
    const W key = wset(t.k[i]);
    for (int g = 0; g < G; g++) {
      const W s = wmul(wload(row + 16 * g), decay);
      wstore(row + 16 * g, s);
      seen[g] = wfma(key, s, seen[g]);
    }
  }
  for (int g = 0; g < G; g++) {
    error[g] = wsub(wload(t.v + first + 16 * g), seen[g]);
    wstore(t.error + first + 16 * g, error[g]);
  }
  row = t.matrix + first;
  for (int64_t i = 0; i < t.key_dim; i++, row += t.value_dim) {
    const W written = wset(t.rate * t.k[i]), query = wset(t.q[i]);
    for (int g = 0; g < G; g++) {
      const W s = wfma(written, error[g], wload(row + 16 * g));
      wstore(row + 16 * g, s);
      out[g] = wfma(query, s, out[g]);
    }
  }
  for (int g = 0; g < G; g++) wstore(t.out + first + 16 * g, out[g]);
}

static void delta_column(const DeltaToken& t, int64_t column) {
  float seen = 0, out = 0;
  float* s = t.matrix + column;
  for (int64_t i = 0; i < t.key_dim; i++) {
    s[i * t.value_dim] *= t.decay;
    seen = __builtin_fmaf(t.k[i], s[i * t.value_dim], seen);
  }
  const float error = t.v[column] - seen;
  for (int64_t i = 0; i < t.key_dim; i++) {
    s[i * t.value_dim] = __builtin_fmaf(t.rate * t.k[i], error, s[i * t.value_dim]);
    out = __builtin_fmaf(t.q[i], s[i * t.value_dim], out);
  }
  t.error[column] = error;
  t.out[column] = out;
}

static void delta_token(const DeltaToken& t) {
  int64_t column = 0;
  for (; column + 64 <= t.value_dim; column += 64) delta_columns<4>(t, column);
  for (; column + 16 <= t.value_dim; column += 16) delta_columns<1>(t, column);
  for (; column < t.value_dim; column++) delta_column(t, column);
}

}  // namespace vortex::VORTEX_ISA
