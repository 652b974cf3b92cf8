// Where the rows of sequences sorted by decreasing length are, as in ../packing.py. Where `first` is null all have T_ steps.
#pragma once
typedef long long Int;
struct Rows {
  const Int *first, *lengths;
  Int T_, B;
  __device__ Int length(Int position) const { return position >= B ? 0 : lengths ? lengths[position] : T_; }
  __device__ Int slot(Int t, Int position) const { return (first ? first[t] : t * B) + position; }  // before step t
  __device__ Int packed(Int t, Int position) const { return slot(t + 1, position) - B; }
};
__device__ Int smaller(Int a, Int b) { return a < b ? a : b; }

template <class S> struct alignas(4 * sizeof(S)) Four { S at[4]; };
