// Written by coefficients.py; do not edit.
#ifndef CK_COEFFICIENTS_H
#define CK_COEFFICIENTS_H

// exp(r) = 1 + (r + r^2 P(r)), |r| <= log(2)/2
// float: error 2^-32.19
static const float ck_exp_float[6] = {
    0x1.0000000000000p-1f,
    0x1.5555560000000p-3f,
    0x1.5554ea0000000p-5f,
    0x1.1110e00000000p-7f,
    0x1.6d43240000000p-10f,
    0x1.a124f20000000p-13f,
};
// double: error 2^-62.08
static const double ck_exp_double[11] = {
    0x1.0000000000000p-1,
    0x1.5555555555557p-3,
    0x1.5555555555556p-5,
    0x1.11111111100dcp-7,
    0x1.6c16c16c162d4p-10,
    0x1.a01a01abe7fe1p-13,
    0x1.a01a01a6d889cp-16,
    0x1.71de0231960ebp-19,
    0x1.27e4db646b17ep-22,
    0x1.af4de97ca4194p-26,
    0x1.1f730349868cep-29,
};

// tanh(x) = x + x w P(w), w = x^2 <= 0.625^2
// float: error 2^-30.7
static const float ck_tanh_float[6] = {
    -0x1.5555560000000p-2f,
    0x1.1110ea0000000p-3f,
    -0x1.ba08c40000000p-5f,
    0x1.64a9760000000p-6f,
    -0x1.116a160000000p-7f,
    0x1.2c83c00000000p-9f,
};
// double: error 2^-59.23
static const double ck_tanh_double[12] = {
    -0x1.5555555555555p-2,
    0x1.11111111110a8p-3,
    -0x1.ba1ba1ba0f126p-5,
    0x1.664f487e0a749p-6,
    -0x1.226e3473dce5cp-7,
    0x1.d6d39ae3905e2p-9,
    -0x1.7d9f6f23e867bp-10,
    0x1.3526e9ed54d65p-11,
    -0x1.f243823c8c6d1p-13,
    0x1.8445870f6f49ep-14,
    -0x1.05bbdae894ee3p-15,
    0x1.b33642a11e6cfp-18,
};

// log1p(e) = 2 s + s w P(w), s = e / (2 + e), w = s^2 <= 1/9
// float: error 2^-31.34
static const float ck_log1p_float[5] = {
    0x1.5555560000000p-1f,
    0x1.9998d40000000p-2f,
    0x1.24c9260000000p-2f,
    0x1.bc8cf80000000p-3f,
    0x1.dba2600000000p-3f,
};
// double: error 2^-57.56
static const double ck_log1p_double[10] = {
    0x1.5555555555555p-1,
    0x1.999999999a3ddp-2,
    0x1.24924923d44c6p-2,
    0x1.c71c727143318p-3,
    0x1.745cf0b0e03bcp-3,
    0x1.3b18b294bec15p-3,
    0x1.10ac75dc6012dp-3,
    0x1.eb905e857695fp-4,
    0x1.687a6e7c8e094p-4,
    0x1.4b0a26c5f9607p-3,
};

// Phi(-a) = exp(-a^2 / 2) P(q) / (a + k), q = (a - k) / (a + k), k = 3 (float), 5 (double)
// float: error 2^-29.66
static const float ck_tail_float[11] = {
    0x1.754a760000000p-1f,
    -0x1.04c72a0000000p-1f,
    0x1.d713820000000p-3f,
    -0x1.832d2a0000000p-5f,
    -0x1.56d4100000000p-7f,
    0x1.c8c6720000000p-8f,
    0x1.0c78aa0000000p-10f,
    -0x1.0f21480000000p-10f,
    -0x1.007cfa0000000p-12f,
    0x1.1748c20000000p-13f,
    0x1.d09dc40000000p-15f,
};
// double: error 2^-60.76
static const double ck_tail_double[24] = {
    0x1.89d3abe1f95aep-1,
    -0x1.54ad03f27ca18p-1,
    0x1.fb31653876f89p-2,
    -0x1.410ed5f875946p-2,
    0x1.51f6329f01ba3p-3,
    -0x1.1b1c254ca42c5p-4,
    0x1.54b4d4f48a95dp-6,
    -0x1.88590e97fa725p-9,
    -0x1.a2503777d193ep-11,
    0x1.1daf1ad402a68p-11,
    -0x1.f214934cc2997p-15,
    -0x1.a1700f97933d8p-15,
    0x1.17df18b48c12bp-16,
    0x1.0b14870d680c8p-18,
    -0x1.73e13a7eebb7bp-19,
    -0x1.673ef5ca91651p-22,
    0x1.d4772f5151200p-22,
    0x1.592046569c07ep-25,
    -0x1.2d422be3e72a3p-24,
    -0x1.25f8b412cdb42p-27,
    0x1.72fe74371fc82p-27,
    0x1.313b2a0d09987p-29,
    -0x1.3f1a1f1afa304p-30,
    -0x1.a397ed7719499p-32,
};

#endif
