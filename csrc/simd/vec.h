// The vector type of the ISA this file is compiled for. The build names the header, so
// kernels are written once. Everything lives in the anonymous namespace: two objects
// compiled with different instruction sets must never share a function.
#pragma once

#include SPARSEAGENT_VEC_HEADER

// What functions of vectors are declared with, where the CPU and CUDA share them.
#ifndef SPARSEAGENT_FUNCTION
#define SPARSEAGENT_FUNCTION inline
#endif
