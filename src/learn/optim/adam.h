
/* The step of src/learn/optim/adam.rs. Rates: length of the step, factor of the mean square, part of the parameter kept.
   Moments: mean and mean square of the gradient. */

DEVICE float optimizer_step(float value, float gradient, const float *rates, float *moments) {
    gradient += OPTIMIZER_L2 * value;
    moments[0] = OPTIMIZER_BETA1 * moments[0] + OPTIMIZER_NEW1 * gradient;
    moments[1] = OPTIMIZER_BETA2 * moments[1] + OPTIMIZER_NEW2 * gradient * gradient;
    return value * rates[2] - rates[0] * moments[0] / (sqrtf(moments[1] * rates[1]) + OPTIMIZER_EPS);
}
