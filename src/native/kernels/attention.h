// Softmax attention of queries that share a key head, 256 keys at a time. Included once per instruction set.
//
// Keys are cut into chunks counted from position 0, so a position meets the same chunks, in the same order and with the
// same operations, whether it is decoded, verified or part of a prompt. A key that a row does not see has weight 0.
namespace vortex::VORTEX_ISA {

constexpr float UNSEEN = -1e30f;
constexpr int KEYS_AHEAD = 12;  // whose values are fetched

template <class T>
VORTEX_INLINE float scale_of(const float* scales, int64_t position) {
  if constexpr (sizeof(T) == 1) return scales[position];
  return 1.0f;
}

// Scores of R queries against G groups of 16 keys: lanes are keys, head dimensions are added in order.
template <class T, int R, int G>
VORTEX_INLINE void score(const T* keys, int head_width, const float* const* query, float (*scores)[CHUNK]) {
  W acc[R][G];
  for (int r = 0; r < R; r++)
    for (int g = 0; g < G; g++) acc[r][g] = wset(0);
  for (int d = 0; d < head_width; d++)
    for (int g = 0; g < G; g++) {
      const T* at = keys + ((int64_t)g * head_width + d) * 16;
      if (d * sizeof(T) % 4 == 0) __builtin_prefetch(at + (int64_t)G * head_width * 16);  // a line, of the next groups
      const W k = welements(at);
      for (int r = 0; r < R; r++) acc[r][g] = wfma(k, wset(query[r][d]), acc[r][g]);
    }
  for (int r = 0; r < R; r++)
    for (int g = 0; g < G; g++) wstore(scores[r] + 16 * g, acc[r][g]);
}

template <class T, int R>
VORTEX_INLINE void score_groups(const T* keys, int head_width, const float* const* query, int first, int end, float (*scores)[CHUNK]) {
  constexpr int G = R >= 8 ? 1 : R >= 4 ? 2 : 4;
  int g = first;
  for (; g + G <= end; g += G)
    score<T, R, G>(keys + (int64_t)g * head_width * 16, head_width, query, (float(*)[CHUNK])(&scores[0][16 * g]));
  for (; g < end; g++)
    score<T, R, 1>(keys + (int64_t)g * head_width * 16, head_width, query, (float(*)[CHUNK])(&scores[0][16 * g]));
}

// Scores to weights in place; their sum and the largest score. Keys outside [first, end) get weight 0.
VORTEX_INLINE void soften(float* scores, int first, int end, int groups_first, int groups_end, Partial& out) {
  W largest = wset(UNSEEN);
  for (int g = groups_first; g < groups_end; g++)
    largest = wmax(largest, wbetween(wload(scores + 16 * g), first - 16 * g, end - 16 * g, wset(UNSEEN)));
  out.largest = wlargest(largest);
  W sum = wset(0);
  for (int g = groups_first; g < groups_end; g++) {
    const W weight = wexp(wsub(wload(scores + 16 * g), wset(out.largest)));
    const W kept = wbetween(weight, first - 16 * g, end - 16 * g, wset(0));
    wstore(scores + 16 * g, kept);
    sum = wadd(sum, kept);
  }
  out.sum = wsum(sum);
}

// Weighted values of R rows, N vectors of 16 dimensions at a time; keys are added in order.
template <class T, int R, int N>
VORTEX_INLINE void gather(const T* values, int head_width, int first, int end, const float (*weights)[CHUNK], Partial* const* out, int d) {
  W acc[R][N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) acc[r][n] = wset(0);
  for (int key = first; key < end; key++) {
    const T* at = values + (int64_t)key * head_width + d;
    for (int n = 0; n < N; n += 4 / (int)sizeof(T)) __builtin_prefetch(at + KEYS_AHEAD * head_width + 16 * n);
    W v[N];
    for (int n = 0; n < N; n++) v[n] = welements(at + 16 * n);
    for (int r = 0; r < R; r++) {
      const W weight = wset(weights[r][key]);
      for (int n = 0; n < N; n++) acc[r][n] = wfma(v[n], weight, acc[r][n]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) wstore(out[r]->values + d + 16 * n, acc[r][n]);
}

template <class T, int R>
VORTEX_INLINE void gather_all(const T* values, int head_width, int first, int end, const float (*weights)[CHUNK], Partial* const* out) {
  int d = 0;
  for (; d + 64 <= head_width; d += 64) gather<T, R, 4>(values, head_width, first, end, weights, out, d);
  for (; d < head_width; d += 16) gather<T, R, 1>(values, head_width, first, end, weights, out, d);
}

// The keys of a chunk, [first, end), that a query at `position` sees.
struct Range {
  int first, end;
};

VORTEX_INLINE Range seen_range(int64_t position, int window, int64_t chunk, int64_t end_key) {
  const int64_t start = chunk * CHUNK, low = window ? position + 1 - window : 0;
  const int64_t first = low > start ? low - start : 0, stop = (position + 1 < end_key ? position + 1 : end_key) - start;
  return {(int)(first < CHUNK ? first : CHUNK), (int)(stop < 0 ? 0 : stop < CHUNK ? stop : CHUNK)};
}

template <class T, int R>
VORTEX_INLINE void attend_rows(const HeadCache& cache, const Queries& queries, int row, int64_t chunk, int64_t end_key,
                        Partial* partials, bool* seen) {
  Range ranges[R];
  Partial* out[R];
  int first = CHUNK, end = 0;
  for (int r = 0; r < R; r++) {
    ranges[r] = seen_range(queries.position[row + r], queries.window, chunk, end_key);
    out[r] = partials + row + r;
    seen[row + r] = ranges[r].first < ranges[r].end;
    if (!seen[row + r]) continue;
    first = ranges[r].first < first ? ranges[r].first : first;
    end = ranges[r].end > end ? ranges[r].end : end;
  }
  if (first >= end) return;
  const int width = queries.head_width, group = first / 16, group_end = (end + 15) / 16;
  const int64_t start = chunk * CHUNK;
  alignas(64) float scores[R][CHUNK];
  score_groups<T, R>((const T*)cache.keys + start * width, width, queries.query + row, group, group_end, scores);
  for (int r = 0; r < R; r++) {
    if constexpr (sizeof(T) == 1)
      for (int i = 16 * group; i < 16 * group_end; i++) scores[r][i] *= scale_of<T>(cache.key_scale, start + i);
    if (ranges[r].first < ranges[r].end) soften(scores[r], ranges[r].first, ranges[r].end, group, group_end, *out[r]);
    else memset(scores[r], 0, sizeof scores[r]);
    if constexpr (sizeof(T) == 1)
      for (int i = first; i < end; i++) scores[r][i] *= scale_of<T>(cache.value_scale, start + i);
  }
  const T* values = (const T*)cache.values + start * width;
  if constexpr (R == 8) {
    gather_all<T, 4>(values, width, first, end, scores, out);
    gather_all<T, 4>(values, width, first, end, scores + 4, out + 4);
  } else {
    gather_all<T, R>(values, width, first, end, scores, out);
  }
}

template <class T>
void attend_chunk(const HeadCache& cache, const Queries& queries, int64_t chunk, int64_t end_key, Partial* out, bool* seen) {
  int row = 0;
  if constexpr (MAX_ROWS >= 8)
    for (; row + 8 <= queries.rows; row += 8) attend_rows<T, 8>(cache, queries, row, chunk, end_key, out, seen);
  if constexpr (MAX_ROWS >= 4) {
    for (; row + 4 <= queries.rows; row += 4) attend_rows<T, 4>(cache, queries, row, chunk, end_key, out, seen);
    for (; row + 3 <= queries.rows; row += 3) attend_rows<T, 3>(cache, queries, row, chunk, end_key, out, seen);
    for (; row + 2 <= queries.rows; row += 2) attend_rows<T, 2>(cache, queries, row, chunk, end_key, out, seen);
  }
  for (; row < queries.rows; row++) attend_rows<T, 1>(cache, queries, row, chunk, end_key, out, seen);
}

static void attend(const HeadCache& cache, bool int8, const Queries& queries, int64_t chunk, int64_t end_key,
                   Partial* out, bool* seen) {
  if (int8) attend_chunk<int8_t>(cache, queries, chunk, end_key, out, seen);
  else attend_chunk<uint16_t>(cache, queries, chunk, end_key, out, seen);
}

static float exp_one(float x) {
  float lanes[16];
  wstore(lanes, wexp(wset(x)));
  return lanes[0];
}

static void merge(Partial& into, const Partial& next, int head_width, bool first) {
  if (first) {
    into.largest = next.largest;
    into.sum = next.sum;
    memcpy(into.values, next.values, (size_t)head_width * 4);
    return;
  }
  const float largest = next.largest > into.largest ? next.largest : into.largest;
  const float old_factor = exp_one(into.largest - largest), new_factor = exp_one(next.largest - largest);
  const W keep = wset(old_factor), take = wset(new_factor);
  for (int d = 0; d < head_width; d += 16)
    wstore(into.values + d, wfma(wload(next.values + d), take, wmul(wload(into.values + d), keep)));
  into.sum = into.sum * old_factor + next.sum * new_factor;
  into.largest = largest;
}

static void finish(const Partial& total, const float* sink, int head_width, float* out) {
  float sum = total.sum;
  W factor = wset(1);
  if (sink) {
    const float largest = *sink > total.largest ? *sink : total.largest, shrink = exp_one(total.largest - largest);
    factor = wset(shrink);
    sum = sum * shrink + exp_one(*sink - largest);
  }
  for (int d = 0; d < head_width; d += 16) wstore(out + d, wdiv(wmul(wload(total.values + d), factor), wset(sum)));
}

// Half precision, or int8 with one scale per position.
VORTEX_INLINE float to_bytes(const float* x, int n, int8_t* out) {
  W largest = wset(0);
  for (int i = 0; i < n; i += 16) largest = wmax(largest, wabs(wload(x + i)));
  const float top = wlargest(largest);
  const bool empty = !(top > 1e-30f);
  const W inverse = wset(empty ? 0.0f : 127.0f / top);
  for (int i = 0; i < n; i += 16) wto_int8(out + i, wmul(wload(x + i), inverse));
  return empty ? 0.0f : top / 127.0f;
}

static void write_cache(const HeadCache& cache, bool int8, int64_t position, int width, const float* key, const float* value) {
  const int64_t group = position / 16 * width * 16 + position % 16;
  if (int8) {
    int8_t bytes[MAX_HEAD_WIDTH];
    cache.key_scale[position] = to_bytes(key, width, bytes);
    for (int d = 0; d < width; d++) ((int8_t*)cache.keys)[group + 16 * d] = bytes[d];
    cache.value_scale[position] = to_bytes(value, width, (int8_t*)cache.values + position * width);
    return;
  }
  uint16_t halves[MAX_HEAD_WIDTH];
  for (int d = 0; d < width; d += 16) wto_half(halves + d, wload(key + d));
  for (int d = 0; d < width; d++) ((uint16_t*)cache.keys)[group + 16 * d] = halves[d];
  for (int d = 0; d < width; d += 16) wto_half((uint16_t*)cache.values + position * width + d, wload(value + d));
}

}  // namespace vortex::VORTEX_ISA
