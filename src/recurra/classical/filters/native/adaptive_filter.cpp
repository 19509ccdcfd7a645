// The time loops of the adaptive filters, in double precision, real and complex.
//
// A regressor is N contiguous numbers at x + t * hop: rows of a matrix (hop = N), or a signal stored backwards in time
// (hop = -channels), so that a tapped delay line needs no copy. Every function works on one filter:
//     x        first regressor, (T, N) by `hop`             w        (N) in and out, after the last step
//     d        (T) what the output should have been         kept     (T, N) weights before each step, or null
//     y, e     (T) out: y = w^H x before the update, e = d - y
// No pointer may alias another. What else a filter remembers from step to step is stated at its function. The same
// steps in NumPy stand beside each algorithm in Python and are compared with these.
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <utility>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

struct Complex {
    double re, im;
};
inline double conj(double a) { return a; }
inline Complex conj(Complex a) { return {a.re, -a.im}; }
inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
inline Complex operator*(double a, Complex b) { return {a * b.re, a * b.im}; }
inline double square(double a) { return a * a; }
inline double square(Complex a) { return a.re * a.re + a.im * a.im; }

// w^H x
inline double inner(int64_t n, const double* w, const double* x) {
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < n; i++) s += w[i] * x[i];
    return s;
}
inline Complex inner(int64_t n, const Complex* w, const Complex* x) {
    double re = 0, im = 0;
#pragma omp simd reduction(+ : re, im)
    for (int64_t i = 0; i < n; i++) {
        re += w[i].re * x[i].re + w[i].im * x[i].im;
        im += w[i].re * x[i].im - w[i].im * x[i].re;
    }
    return {re, im};
}
template <class T> inline double energy(int64_t n, const T* x) {
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < n; i++) s += square(x[i]);
    return s;
}
// w = keep * w + a * x
template <class T> inline void add(int64_t n, T* w, double keep, T a, const T* x) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) w[i] = keep * w[i] + a * x[i];
}
inline double sign(double a) { return (a > 0) - (a < 0); }

enum { PLAIN = 0, SIGN = 1, CUBE = 2, TANH = 3, CORRENTROPY = 4 };

inline double shaped(int64_t rule, double e, double p, double q) {
    switch (rule) {
        case SIGN: return sign(e);
        case CUBE: return e * e * e;
        case TANH: return tanh(p * e);
        case CORRENTROPY: return p * q * exp(-p * pow(fabs(e), q)) * pow(fabs(e), q - 1) * sign(e);
        default: return e;
    }
}
inline Complex shaped(int64_t, Complex e, double, double) { return e; }

template <class T> inline T predict(int64_t n, int64_t t, const T* x, const T* d, const T* w, T* y, T* e, T* kept) {
    if (kept) memcpy(kept + t * n, w, n * sizeof(T));
    y[t] = inner(n, w, x);
    return e[t] = d[t] - y[t];
}

template <class T>
void gradient(int64_t steps, int64_t n, int64_t hop, const T* x, const T* d, T* w, T* y, T* e, T* kept, int64_t rule,
              int64_t normalised, double step, double eps, double keep, double p, double q) {
    for (int64_t t = 0; t < steps; t++, x += hop) {
        const T error = predict(n, t, x, d, w, y, e, kept);
        const double size = normalised ? step / (eps + energy(n, x)) : step;
        add(n, w, keep, size * conj(shaped(rule, error, p, q)), x);
    }
}

// The lower half of P (n, n) onto the upper one.
template <class T> void mirror(int64_t n, T* P) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) P[j * n + i] = conj(P[i * n + j]);
}

// What rounding adds to P that is not Hermitian grows as 1 / forgetting^t and would ruin it within a thousand steps, so
// P is mirrored before that. `most` is the largest mean diagonal that forgetting may lead to; a P that is no longer
// positive starts again at `start` times the identity.
template <class T>
int64_t rls(int64_t steps, int64_t n, int64_t hop, const T* x, const T* d, T* w, T* y, T* e, T* kept, T* P,
            double forgetting, double start, double most) {
    std::vector<T> gain(n), ahead(n);
    T *k = gain.data(), *next = ahead.data();
    int64_t restarts = 0;
    double trace = 0;
    // k = P x, from the columns of P, which are the conjugates of its rows.
    for (int64_t i = 0; i < n; i++) {
        const T* row = P + i * n;
        const T at = steps ? x[i] : T{};
        trace += sqrt(square(row[i]));
#pragma omp simd
        for (int64_t j = 0; j < n; j++) k[j] = k[j] + conj(row[j]) * at;
    }
    for (int64_t t = 0; t < steps; t++, x += hop) {
        const T error = predict(n, t, x, d, w, y, e, kept);
        T form = inner(n, x, k);
        double power;
        memcpy(&power, &form, sizeof power);  // its real part; a Hermitian form has no other
        if (!(power >= 0) || !(trace > 0)) {
            restarts++;
            for (int64_t i = 0; i < n * n; i++) P[i] = T{};
            for (int64_t i = 0; i < n; i++) {
                memcpy(&P[i * n + i], &start, sizeof start);
                k[i] = start * x[i];
            }
            power = start * energy(n, x);
            trace = start * n;
        }
        const double share = 1 / (forgetting + power);
        add(n, w, 1.0, share * conj(error), k);
        const double grow = trace < most * n ? 1 / forgetting : 1.0;
        trace = 0;
        for (int64_t j = 0; j < n; j++) next[j] = T{};
        // The next k in the same pass: a large P is read from far away.
        const T* then = t + 1 < steps ? x + hop : x;
        for (int64_t i = 0; i < n; i++) {
            T* row = P + i * n;
            const T ki = k[i], at = then[i];
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                const T value = grow * (row[j] - share * (ki * conj(k[j])));
                row[j] = value;
                next[j] = next[j] + conj(value) * at;
            }
            trace += sqrt(square(row[i]));
        }
        std::swap(k, next);
        if (t % 32 == 31) mirror(n, P);
    }
    mirror(n, P);
    return restarts;
}

// In place: A (n, n) Hermitian positive definite, b (n) becomes the solution. By L D L^H.
template <class T> void solve(int64_t n, T* A, T* b) {
    for (int64_t j = 0; j < n; j++) {
        double pivot;
        memcpy(&pivot, &A[j * n + j], sizeof pivot);
        for (int64_t i = j + 1; i < n; i++) {
            const T factor = (1 / pivot) * A[i * n + j];
            for (int64_t k = j + 1; k <= i; k++) A[i * n + k] = A[i * n + k] - factor * conj(A[k * n + j]);
            b[i] = b[i] - factor * b[j];
        }
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        // Column i below the diagonal still holds L times its pivot.
        double pivot;
        memcpy(&pivot, &A[i * n + i], sizeof pivot);
        T rest = b[i];
        for (int64_t k = i + 1; k < n; k++) rest = rest - conj(A[k * n + i]) * b[k];
        b[i] = (1 / pivot) * rest;
    }
}

// past (order, n): the latest regressors, newest first; wanted (order): their d.
template <class T>
void projection(int64_t steps, int64_t n, int64_t hop, const T* x, const T* d, T* w, T* y, T* e, T* kept, T* past,
                T* wanted, int64_t order, double step, double eps) {
    std::vector<T> square_of(order * order), right(order);
    for (int64_t t = 0; t < steps; t++, x += hop) {
        predict(n, t, x, d, w, y, e, kept);
        memmove(past + n, past, (order - 1) * n * sizeof(T));
        memcpy(past, x, n * sizeof(T));
        memmove(wanted + 1, wanted, (order - 1) * sizeof(T));
        wanted[0] = d[t];
        for (int64_t i = 0; i < order; i++) {
            // conj of the errors: w moves by X (X^H X + eps)^-1 conj(e).
            right[i] = conj(wanted[i] - inner(n, w, past + i * n));
            for (int64_t j = 0; j <= i; j++) square_of[i * order + j] = inner(n, past + i * n, past + j * n);
            double diagonal;
            memcpy(&diagonal, &square_of[i * order + i], sizeof diagonal);
            diagonal += eps;
            memcpy(&square_of[i * order + i], &diagonal, sizeof diagonal);
        }
        solve(order, square_of.data(), right.data());
        for (int64_t i = 0; i < order; i++) add(n, w, 1.0, step * right[i], past + i * n);
    }
}

}  // namespace

#define FRONT(T) int64_t steps, int64_t n, int64_t hop, const T *x, const T *d, T *w, T *y, T *e, T *kept

API void gradient_real(FRONT(double), int64_t rule, int64_t normalised, double step, double eps, double keep, double p,
                       double q) {
    gradient(steps, n, hop, x, d, w, y, e, kept, rule, normalised, step, eps, keep, p, q);
}
API void gradient_complex(FRONT(Complex), int64_t rule, int64_t normalised, double step, double eps, double keep,
                          double p, double q) {
    gradient(steps, n, hop, x, d, w, y, e, kept, rule, normalised, step, eps, keep, p, q);
}

// The data by their signs: w = keep * w + size * shaped(e) * sign(x).
API void sign_data_real(FRONT(double), int64_t rule, int64_t normalised, double step, double eps, double keep) {
    for (int64_t t = 0; t < steps; t++, x += hop) {
        const double error = predict(n, t, x, d, w, y, e, kept);
        const double a = (normalised ? step / (eps + energy(n, x)) : step) * shaped(rule, error, 0, 0);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) w[i] = keep * w[i] + a * sign(x[i]);
    }
}

API int64_t rls_real(FRONT(double), double* P, double forgetting, double start, double most) {
    return rls(steps, n, hop, x, d, w, y, e, kept, P, forgetting, start, most);
}
API int64_t rls_complex(FRONT(Complex), Complex* P, double forgetting, double start, double most) {
    return rls(steps, n, hop, x, d, w, y, e, kept, P, forgetting, start, most);
}

API void projection_real(FRONT(double), double* past, double* wanted, int64_t order, double step, double eps) {
    projection(steps, n, hop, x, d, w, y, e, kept, past, wanted, order, step, eps);
}
API void projection_complex(FRONT(Complex), Complex* past, Complex* wanted, int64_t order, double step, double eps) {
    projection(steps, n, hop, x, d, w, y, e, kept, past, wanted, order, step, eps);
}

// GNGD. last (n): the regressor before; memory (2): eps, the error before.
API void gngd_real(FRONT(double), double* last, double* memory, double step, double rate) {
    double eps = memory[0], last_e = memory[1];
    double before = energy(n, last);
    for (int64_t t = 0; t < steps; t++, x += hop) {
        const double error = predict(n, t, x, d, w, y, e, kept);
        const double power = energy(n, x);
        eps -= rate * step * error * last_e * inner(n, x, last) / ((before + eps) * (before + eps));
        add(n, w, 1.0, step / (eps + power) * error, x);
        memcpy(last, x, n * sizeof(double));
        last_e = error;
        before = power;
    }
    memory[0] = eps, memory[1] = last_e;
}

enum { MATHEWS = 0, ANG = 1, BENVENISTE = 2 };

// LMS whose step follows the gradient. last, trend (n): the regressor before and its running product with the error;
// memory (2): the step, the error before.
API void variable_step_real(FRONT(double), double* last, double* trend, double* memory, int64_t rule, double rate,
                            double decay) {
    double step = memory[0], last_e = memory[1];
    for (int64_t t = 0; t < steps; t++, x += hop) {
        const double error = predict(n, t, x, d, w, y, e, kept);
        if (rule == MATHEWS) {
            step += rate * error * last_e * inner(n, last, x);
        } else {
            const double along = rule == BENVENISTE ? step * inner(n, last, trend) : 0.0;
            const double keep = rule == BENVENISTE ? 1.0 : decay;
            add(n, trend, keep, last_e - along, last);
            step += rate * error * inner(n, last, trend);
        }
        add(n, w, 1.0, step * error, x);
        memcpy(last, x, n * sizeof(double));
        last_e = error;
    }
    memory[0] = step, memory[1] = last_e;
}
