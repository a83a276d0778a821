// Package once keeps the first result of work under a key, so that a function
// which is called twice for one event can answer from the first call. Delivery
// is at least once everywhere; this is how a function makes its effect happen
// once.
//
//	begin(key)            new:      do the work, then complete(key, token, result)
//	                      done:     the first result
//	                      running:  another call is at it; its lease ends at a time
//	abandon(key, token)   the work failed; the next begin is new
//
// Keys belong to a function. A begin is a compare-and-set in the engine, so that
// of two calls at once one is told "new".
package once
