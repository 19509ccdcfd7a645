// The loops of hidden Markov models, in double precision. Matrices are row-major; K states, D features.
//
// Sequences lie one after the other: sequence s is rows offsets[s] ... offsets[s + 1] - 1 of `density` (N, K), the log
// densities of the observations. `start` (B or 1 rows of K, by start_row) and `move` (K, K) are probabilities, or their
// logarithms where the name says log.
//
// Scaled recursions run on densities divided by each step's largest and on alphas that sum to one. What then becomes
// too small to be held may matter later (a state that everything must pass through), so it is followed: as long as a
// bound on it stays negligible nothing is done; when it does not, status[s] is 1 and the caller takes the logarithms.
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <vector>

#undef REAL
#define REAL double
#include "vec.hpp"

#define API extern "C" __attribute__((visibility("default")))

namespace {

// An entry below TINY is taken as 0; below SMALL its products may be; e^NEGLIGIBLE is what changes no result.
constexpr double TINY = 1e-280, SMALL = 1e-250, NEGLIGIBLE = -60.0;
constexpr double INF = __builtin_inf();

struct Padded {
    int64_t k, width;
    std::vector<double> rows, columns;
    double largest;  // row sum: 1 for probabilities
    Padded(int64_t k, const double* move) : k(k), width((k + LANES - 1) / LANES * LANES), rows(k * width), columns(k * width) {
        largest = 0;
        for (int64_t i = 0; i < k; i++) {
            double sum = 0;
            for (int64_t j = 0; j < k; j++) {
                rows[i * width + j] = columns[j * width + i] = move[i * k + j];
                sum += move[i * k + j];
            }
            largest = std::max(largest, sum);
        }
    }
};

// out = sum_i factor[i] * matrix[i]
inline void combine(const Padded& m, const double* matrix, const double* factor, double* out) {
    for (int64_t j = 0; j < m.width; j += LANES) {
        vreal even = {}, odd = {};
        int64_t i = 0;
        for (; i + 1 < m.k; i += 2) {
            even += splat(factor[i]) * load(matrix + i * m.width + j);
            odd += splat(factor[i + 1]) * load(matrix + (i + 1) * m.width + j);
        }
        if (i < m.k) even += splat(factor[i]) * load(matrix + i * m.width + j);
        store(out + j, even + odd);
    }
}

// exp(density - largest) into b (width), 0 beyond K; gives the largest.
inline double scaled(int64_t k, int64_t width, const double* density, double* b) {
    double top = -INF;
    for (int64_t i = 0; i < k; i++) top = std::max(top, density[i]);
    if (!(top > -INF)) return top;
    for (int64_t j = 0; j < width; j += LANES) {
        const int left = int(std::min<int64_t>(LANES, k - j));
        const vreal row = left == LANES ? load(density + j) : load_part(density + j, left);
        vreal e = v_exp(row - splat(top));
        e = e < splat(TINY) ? vreal{} : e;
        if (left < LANES) {
            vreal kept = {};
            for (int i = 0; i < left; i++) kept[i] = e[i];
            e = kept;
        }
        store(b + j, e);
    }
    return top;
}

// What was too small to be held, and how large it may have become since relative to what was kept.
struct Debt {
    std::vector<char> in, next;
    bool open = false;
    double bound = -INF;
    explicit Debt(int64_t k) : in(k), next(k) {}

    // After a step: expected (before the density), alpha (normalised), c the factor it was divided by.
    bool follow(const Padded& m, const double* expected, const double* density, double top, const double* alpha, double c) {
        const int64_t k = m.k;
        if (open) {
            double best = -INF;
            bool any = false;
            for (int64_t j = 0; j < k; j++) {
                char touched = 0;
                for (int64_t i = 0; i < k && !touched; i++) touched = in[i] && m.rows[i * m.width + j] > 0;
                // Where enough is expected anyway, what was lost changes nothing.
                next[j] = touched && density[j] > -INF && log(expected[j]) < bound - NEGLIGIBLE;
                if (next[j]) best = std::max(best, density[j] - top), any = true;
            }
            in.swap(next);
            open = any;
            bound = any ? bound + best - log(c) + log(m.largest) : -INF;
            if (bound > NEGLIGIBLE) return false;
        }
        for (int64_t j = 0; j < k; j++)
            if (expected[j] > 0 && density[j] > -INF && alpha[j] < SMALL) {
                if (!open) std::fill(in.begin(), in.end(), 0);
                in[j] = 1, open = true;
                bound = std::max(bound, log(SMALL) + log(double(k)));
            }
        return true;
    }
};

// alphas (T, width) and scales (T) with scaled densities b (T, width); false where it needs logarithms.
bool forward(const Padded& m, int64_t steps, const double* density, const double* start, double* b, double* alpha,
             double* scale, double* likelihood) {
    const int64_t k = m.k, width = m.width;
    std::vector<double> expected(width);
    Debt debt(k);
    double total = 0;
    for (int64_t t = 0; t < steps; t++) {
        double *at = alpha + t * width, *bt = b + t * width;
        const double top = scaled(k, width, density + t * k, bt);
        if (!(top > -INF) || top == INF) return false;
        if (t) combine(m, m.rows.data(), at - width, expected.data());
        else memcpy(expected.data(), start, k * sizeof(double));
        vreal sum = {}, small = {};
        for (int64_t j = 0; j < width; j += LANES) {
            const vreal e = load(expected.data() + j), a = e * load(bt + j);
            store(at + j, a);
            sum += a;
        }
        const double c = hsum(sum);
        if (!(c > 1e-200)) return false;
        const vreal share = splat(1 / c);
        for (int64_t j = 0; j < width; j += LANES) {
            const vreal e = load(expected.data() + j);
            vreal a = load(at + j) * share;
            a = a < splat(TINY) ? vreal{} : a;
            store(at + j, a);
            const vreal one = splat(1.0);
            small += (a < splat(SMALL)) & (e > vreal{}) ? one : vreal{};
        }
        if (debt.open || hsum(small) > 0)
            if (!debt.follow(m, expected.data(), density + t * k, top, at, c)) return false;
        scale[t] = c;
        total += log(c) + top;
    }
    *likelihood = total;
    return true;
}

inline double log_sum(int64_t k, const double* v) {
    double top = -INF;
    for (int64_t i = 0; i < k; i++) top = std::max(top, v[i]);
    if (!(top > -INF) || top == INF) return top;
    double s = 0;
    for (int64_t i = 0; i < k; i++) s += exp(v[i] - top);
    return top + log(s);
}

}  // namespace

// Filtered probabilities (N, K), of each state given the observations up to each step, and log likelihoods (B).
API void forward_scaled(int64_t count, const int64_t* offsets, int64_t k, const double* density, const double* start,
                        int64_t start_row, const double* move, double* filtered, double* likelihood, int64_t* status) {
    const Padded m(k, move);
    std::vector<double> b, alpha, scale;
    for (int64_t s = 0; s < count; s++) {
        const int64_t first = offsets[s], steps = offsets[s + 1] - first;
        b.resize(steps * m.width), alpha.resize(steps * m.width), scale.resize(steps);
        status[s] = !forward(m, steps, density + first * k, start + s * start_row, b.data(), alpha.data(),
                             scale.data(), likelihood + s);
        if (status[s]) continue;
        for (int64_t t = 0; t < steps; t++)
            memcpy(filtered + (first + t) * k, alpha.data() + t * m.width, k * sizeof(double));
    }
}

// Posteriors (N, K) and log likelihoods (B); `moves` (K, K) and `starts` (K) are added to: expected transitions and
// expected first states over all sequences with status 0.
API void smooth_scaled(int64_t count, const int64_t* offsets, int64_t k, const double* density, const double* start,
                       int64_t start_row, const double* move, double* posterior, double* likelihood, double* starts,
                       double* moves, int64_t* status) {
    const Padded m(k, move);
    const int64_t width = m.width;
    std::vector<double> b, alpha, scale, beta(width), v(width), sums(k * width), total(k * width);
    for (int64_t s = 0; s < count; s++) {
        const int64_t first = offsets[s], steps = offsets[s + 1] - first;
        b.resize(steps * width), alpha.resize(steps * width), scale.resize(steps);
        status[s] = !forward(m, steps, density + first * k, start + s * start_row, b.data(), alpha.data(),
                             scale.data(), likelihood + s);
        if (status[s]) continue;
        std::fill(sums.begin(), sums.end(), 0.0);
        std::fill(beta.begin(), beta.end(), 1.0);
        bool wrong = false;
        for (int64_t t = steps - 1; t >= 0; t--) {
            double* at = alpha.data() + t * width;
            if (t + 1 < steps) {
                const vreal share = splat(1 / scale[t + 1]);
                for (int64_t j = 0; j < width; j += LANES)
                    store(v.data() + j, load(b.data() + (t + 1) * width + j) * load(beta.data() + j) * share);
                for (int64_t i = 0; i < k; i++)
                    for (int64_t j = 0; j < width; j += LANES)
                        store(sums.data() + i * width + j,
                              load(sums.data() + i * width + j) + splat(at[i]) * load(v.data() + j));
                combine(m, m.columns.data(), v.data(), beta.data());
            }
            double sum = 0;
            for (int64_t i = 0; i < k; i++) sum += posterior[(first + t) * k + i] = at[i] * beta[i];
            const double share = 1 / sum;
            for (int64_t i = 0; i < k; i++) posterior[(first + t) * k + i] *= share;
            wrong = wrong || !(fabs(sum - 1) < 1e-6);
        }
        // An overflow of beta where alpha is nothing shows here, as NaN too.
        for (int64_t i = 0; i < k * width; i++) wrong = wrong || !(sums[i] < INF);
        status[s] = wrong;
        if (status[s]) continue;
        for (int64_t i = 0; i < k; i++) starts[i] += posterior[first * k + i];
        for (int64_t i = 0; i < k * width; i++) total[i] += sums[i];
    }
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) moves[i * k + j] += total[i * width + j] * m.rows[i * width + j];
}

// The same in logarithms, for sequences (all of them) given. `alpha` (N, K) is the place to work in.
API void smooth_log(int64_t count, const int64_t* offsets, int64_t k, const double* density, const double* log_start,
                    int64_t start_row, const double* log_move, double* alpha, double* posterior, double* likelihood,
                    double* starts, double* moves) {
    std::vector<double> work(k), beta(k), next(k);
    for (int64_t s = 0; s < count; s++) {
        const int64_t first = offsets[s], end = offsets[s + 1];
        for (int64_t t = first; t < end; t++)
            for (int64_t j = 0; j < k; j++) {
                double expected = log_start[s * start_row + j];
                if (t > first) {
                    for (int64_t i = 0; i < k; i++) work[i] = alpha[(t - 1) * k + i] + log_move[i * k + j];
                    expected = log_sum(k, work.data());
                }
                alpha[t * k + j] = expected + density[t * k + j];
            }
        const double all = likelihood[s] = log_sum(k, alpha + (end - 1) * k);
        std::fill(beta.begin(), beta.end(), 0.0);
        for (int64_t t = end - 1; t >= first; t--) {
            if (t + 1 < end) {
                for (int64_t j = 0; j < k; j++) next[j] = density[(t + 1) * k + j] + beta[j];
                for (int64_t i = 0; i < k; i++) {
                    for (int64_t j = 0; j < k; j++) {
                        work[j] = log_move[i * k + j] + next[j];
                        const double share = exp(alpha[t * k + i] + work[j] - all);
                        if (share > 0) moves[i * k + j] += share;
                    }
                    beta[i] = log_sum(k, work.data());
                }
            }
            for (int64_t i = 0; i < k; i++) work[i] = alpha[t * k + i] + beta[i];
            const double sum = log_sum(k, work.data());
            for (int64_t i = 0; i < k; i++) posterior[t * k + i] = sum > -INF ? exp(work[i] - sum) : 0.0;
        }
        for (int64_t i = 0; i < k; i++) starts[i] += posterior[first * k + i];
    }
}

// The most probable path (N) of each sequence and its log probability (B); of equals the first.
API void viterbi(int64_t count, const int64_t* offsets, int64_t k, const double* density, const double* log_start,
                 const double* log_move, int64_t* path, double* score) {
    const int64_t width = (k + LANES - 1) / LANES * LANES;
    std::vector<double> rows(k * width, -INF), now(width, -INF), before(width, -INF), from(width);
    std::vector<int32_t> back;
    for (int64_t i = 0; i < k; i++) memcpy(&rows[i * width], log_move + i * k, k * sizeof(double));
    for (int64_t s = 0; s < count; s++) {
        const int64_t first = offsets[s], steps = offsets[s + 1] - first;
        back.resize(steps * k);
        for (int64_t j = 0; j < k; j++) now[j] = log_start[j] + density[first * k + j];
        for (int64_t t = 1; t < steps; t++) {
            now.swap(before);
            for (int64_t j = 0; j < width; j += LANES) {
                vreal best = splat(before[0]) + load(&rows[j]), place = {};
                for (int64_t i = 1; i < k; i++) {
                    const vreal other = splat(before[i]) + load(&rows[i * width + j]);
                    const vint better = other > best;
                    best = better ? other : best;
                    place = better ? splat(double(i)) : place;
                }
                store(&now[j], best);
                store(&from[j], place);
            }
            const double* row = density + (first + t) * k;
            for (int64_t j = 0; j < k; j++) {
                now[j] += row[j];
                back[t * k + j] = int32_t(from[j]);
            }
        }
        int64_t at = 0;
        for (int64_t j = 1; j < k; j++)
            if (now[j] > now[at]) at = j;
        score[s] = now[at];
        for (int64_t t = steps - 1; t >= 0; t--) {
            path[first + t] = at;
            if (t) at = back[t * k + at];
        }
    }
}

constexpr int64_t BLOCK = 64;

// Log densities (N, K) of Gaussians: x (N, D), means (K, D), factors (K, D, D) lower Cholesky factors of the
// covariances, or (K, D) deviations where `diagonal`; constants (K): the part without x.
API void gaussian_density(int64_t n, int64_t d, int64_t k, int64_t diagonal, const double* x, const double* means,
                          const double* factors, const double* constants, double* out) {
    std::vector<double> block(d * BLOCK), y(d * BLOCK), inverse(k * d);
    for (int64_t s = 0; s < k; s++)
        for (int64_t i = 0; i < d; i++)
            inverse[s * d + i] = 1 / (diagonal ? factors[s * d + i] : factors[(s * d + i) * d + i]);
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t rows = std::min(BLOCK, n - first);
        for (int64_t t = 0; t < rows; t++)
            for (int64_t i = 0; i < d; i++) block[i * BLOCK + t] = x[(first + t) * d + i];
        for (int64_t s = 0; s < k; s++) {
            double power[BLOCK] = {};
            for (int64_t i = 0; i < d; i++) {
                double* at = &y[i * BLOCK];
                const double mean = means[s * d + i], scale = inverse[s * d + i];
                const double* from = &block[i * BLOCK];
                for (int64_t t = 0; t < BLOCK; t++) at[t] = from[t] - mean;
                for (int64_t j = 0; j < i && !diagonal; j++) {
                    const double factor = factors[(s * d + i) * d + j];
                    const double* other = &y[j * BLOCK];
                    for (int64_t t = 0; t < BLOCK; t++) at[t] -= factor * other[t];
                }
                for (int64_t t = 0; t < BLOCK; t++) {
                    at[t] *= scale;
                    power[t] += at[t] * at[t];
                }
            }
            for (int64_t t = 0; t < rows; t++) out[(first + t) * k + s] = constants[s] - 0.5 * power[t];
        }
    }
}

// Sums over steps of weight (N, K) times (x - mean)(x - mean)': out (K, D, D), or the diagonals (K, D).
API void gaussian_scatter(int64_t n, int64_t d, int64_t k, int64_t diagonal, const double* x, const double* means,
                          const double* weight, double* out) {
    std::vector<double> block(d * BLOCK), y(d * BLOCK), w(k * BLOCK);
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t rows = std::min(BLOCK, n - first);
        std::fill(w.begin(), w.end(), 0.0);
        for (int64_t t = 0; t < rows; t++) {
            for (int64_t i = 0; i < d; i++) block[i * BLOCK + t] = x[(first + t) * d + i];
            for (int64_t s = 0; s < k; s++) w[s * BLOCK + t] = weight[(first + t) * k + s];
        }
        for (int64_t s = 0; s < k; s++) {
            for (int64_t i = 0; i < d; i++)
                for (int64_t t = 0; t < BLOCK; t++) y[i * BLOCK + t] = block[i * BLOCK + t] - means[s * d + i];
            for (int64_t i = 0; i < d; i++) {
                double part[BLOCK];
                for (int64_t t = 0; t < BLOCK; t++) part[t] = w[s * BLOCK + t] * y[i * BLOCK + t];
                for (int64_t j = diagonal ? i : 0; j <= i; j++) {
                    double sum = 0;
#pragma omp simd reduction(+ : sum)
                    for (int64_t t = 0; t < BLOCK; t++) sum += part[t] * y[j * BLOCK + t];
                    if (diagonal) out[s * d + i] += sum;
                    else out[(s * d + i) * d + j] += sum;
                }
            }
        }
    }
    for (int64_t s = 0; s < k && !diagonal; s++)
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < i; j++) out[(s * d + j) * d + i] = out[(s * d + i) * d + j];
}
