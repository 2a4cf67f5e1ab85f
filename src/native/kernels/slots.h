// A read of LAVA's slots, one head (vblocks/step/lava_slots.py is its readable form). For scores lanes are slots, for what is
// read they are channels. exp(x + log strength) is taken as strength exp(x). Included once per instruction set.
namespace vortex::VORTEX_ISA {

constexpr float NOWHERE = -3e38f;

// q.k of G times 16 slots from `first` on.
template <int G>
VORTEX_INLINE void score_slots(const SlotRead& r, int64_t first) {
  W sum[G];
  for (int g = 0; g < G; g++) sum[g] = wset(0);
  const float* keys = r.keys + first;
  for (int64_t i = 0; i < r.key_dim; i++, keys += r.slots) {
    const W query = wset(r.q[i]);
    for (int g = 0; g < G; g++) sum[g] = wfma(query, wload(keys + 16 * g), sum[g]);
  }
  for (int g = 0; g < G; g++) wstore(r.share + first + 16 * g, sum[g]);
}

// Where fewer than 16 slots are left in the array.
VORTEX_INLINE float score_slot(const SlotRead& r, int64_t slot) {
  float sum = 0;
  for (int64_t i = 0; i < r.key_dim; i++) sum = __builtin_fmaf(r.q[i], r.keys[i * r.slots + slot], sum);
  return sum;
}

VORTEX_INLINE W load_first(const float* p, int64_t n) {
  if (n >= 16) return wload(p);
  float lanes[16] = {};
  memcpy(lanes, p, (size_t)n * 4);
  return wload(lanes);
}

template <int G>
VORTEX_INLINE void mix_values(const SlotRead& r, float null_share, int64_t first) {
  W sum[G];
  for (int g = 0; g < G; g++) sum[g] = wmul(wset(null_share), wload(r.null_value + first + 16 * g));
  const float* values = r.values + first;
  for (int64_t slot = 0; slot < r.count; slot++, values += r.value_dim) {
    const W share = wset(r.share[slot]);
    for (int g = 0; g < G; g++) sum[g] = wfma(share, wload(values + 16 * g), sum[g]);
  }
  for (int g = 0; g < G; g++) wstore(r.out + first + 16 * g, sum[g]);
}

// All but the largest `top_k` weights become 0. Weights are not negative, so they are in the order of their bits, and
// those of the least that stays are found one by one.
static void keep_largest(float* weights, int64_t count, int64_t top_k) {
  uint32_t least = 0;
  for (int bit = 30; bit >= 0; bit--) {
    const float candidate = bits_to_float(least | 1u << bit);
    int64_t as_large = 0;
    for (int64_t i = 0; i < count; i++) as_large += weights[i] >= candidate;
    if (as_large >= top_k) least |= 1u << bit;
  }
  for (int64_t i = 0; i < count; i++)
    if (weights[i] < bits_to_float(least)) weights[i] = 0;
}

static void read_slots(const SlotRead& r) {
  int64_t slot = 0;
  for (; slot < r.count && slot + 64 <= r.slots; slot += 64) score_slots<4>(r, slot);
  for (; slot < r.count && slot + 16 <= r.slots; slot += 16) score_slots<1>(r, slot);
  if (slot < r.count)
    for (int64_t i = slot; i < slot + 16; i++) r.share[i] = i < r.count ? score_slot(r, i) : 0;
  W highest = wset(r.null_logit), sum = wset(0);
  for (slot = 0; slot < r.count; slot += 16) {
    const W logits = wmul(wload(r.share + slot), wset(r.gamma));
    wstore(r.share + slot, logits);
    highest = wmax(highest, wbetween(logits, 0, (int)(r.count - slot), wset(NOWHERE)));
  }
  const float largest = wlargest(highest);
  for (slot = 0; slot < r.count; slot += 16) {
    const W weights = wmul(load_first(r.strength + slot, r.slots - slot), wexp(wsub(wload(r.share + slot), wset(largest))));
    wstore(r.share + slot, wbetween(weights, 0, (int)(r.count - slot), wset(0)));
  }
  if (r.top_k && r.top_k < r.count) keep_largest(r.share, r.count, r.top_k);
  for (slot = 0; slot < r.count; slot += 16) sum = wadd(sum, wload(r.share + slot));
  const float null_weight = exp_one(r.null_logit - largest), total = wsum(sum) + null_weight;
  for (slot = 0; slot < r.count; slot += 16) wstore(r.share + slot, wdiv(wload(r.share + slot), wset(total)));
  const float null_share = null_weight / total;
  int64_t channel = 0;
  for (; channel + 64 <= r.value_dim; channel += 64) mix_values<4>(r, null_share, channel);
  for (; channel + 16 <= r.value_dim; channel += 16) mix_values<1>(r, null_share, channel);
  for (; channel < r.value_dim; channel++) {
    float out = null_share * r.null_value[channel];
    for (int64_t i = 0; i < r.count; i++) out = __builtin_fmaf(r.share[i], r.values[i * r.value_dim + channel], out);
    r.out[channel] = out;
  }
}

}  // namespace vortex::VORTEX_ISA
