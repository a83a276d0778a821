package mayfly

import "context"

type hopsKey struct{}

// WithHops returns a context that carries how many functions the cause of what is
// done went through, the one that does it included.
func WithHops(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, hopsKey{}, n)
}

// HopsFrom is how many functions the cause in ctx went through, 0 where no
// function is behind it. What is over MaxHops is a cycle.
func HopsFrom(ctx context.Context) int {
	n, _ := ctx.Value(hopsKey{}).(int)
	return n
}
