/* The bits of a result are those of single operations, each rounded to nearest. */
#if defined(__FAST_MATH__) || __FINITE_MATH_ONLY__ + 0 != 0 || defined(__NO_SIGNED_ZEROS__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) ||                            \
    (defined(__x86_64__) && defined(__GCC_IEC_559) && __GCC_IEC_559 == 0)
#error "-ffast-math and its parts change the result: compile this file without them"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "this target adds floats in a wider type: on x86 compile with -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "no-tree-loop-distribute-patterns") /* nor memcpy */
#endif

typedef union {
  float f;
  uint32_t u;
} sa_word;
