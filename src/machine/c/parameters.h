
/* What the kernels read of the parameters, from parameters and what is computed of them. */
KERNEL(share) {
    BEGIN_LANE
    PHASE
        share_parameters(&a, lane * THREADS + tid);
    END_LAST
}

KERNEL(prologue) {
    BEGIN_LANE
    step_values(&a);
    adjoint_values(&a);
    (void)lane;
}

KERNEL(epilogue) {
    BEGIN_LANE
    gradient_values(&a);
    (void)lane;
}

/* The gradients of the program's parameters, added to those of the network. */
KERNEL(add_gradients) {
    BEGIN_LANE
    PHASE
        const int i = lane * THREADS + tid;
        if (i < TRAINED) a.gradients[i] += gradient_of(&a, i);
    END_LAST
}
