
/* The step of src/learn/optim/sgd.rs. Rates: the learning rate. Moments: the velocity, with momentum. */

DEVICE float optimizer_step(float value, float gradient, const float *rates, float *moments) {
    gradient += OPTIMIZER_WEIGHT_DECAY * value;
    if (OPTIMIZER_MOMENTUM == 0.0f) return value - rates[0] * gradient;
    moments[0] = OPTIMIZER_MOMENTUM * moments[0] + gradient;
    return value - rates[0] * (OPTIMIZER_NESTEROV != 0.0f ? gradient + OPTIMIZER_MOMENTUM * moments[0] : moments[0]);
}
