__global__ void works(float* x) { *x = 1.0f; }
