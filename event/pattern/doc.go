// Package pattern decides whether an event matches a pattern, by the rules of
// EventBridge's event patterns. It is pure.
//
// A pattern is an object that has the shape of the event. Each leaf is a list of
// what its value may be; any one suffices. All fields must match; "$or" holds a
// list of patterns of which one must. A list in the event matches where one of
// its elements does; several fields below a list must match in one element.
//
//	"red"  4  true  null                    is exactly this; numbers as they are written
//	{"prefix": "a"}  {"suffix": "z"}        also {"prefix": {"equals-ignore-case": "a"}}
//	{"equals-ignore-case": "a"}
//	{"wildcard": "a*b"}                     * is any text; \* and \\ are themselves
//	{"numeric": [">", 0, "<=", 5]}          = < <= > >=
//	{"anything-but": "a"}                   or a number, or a list, or {"prefix": …}, {"suffix": …},
//	                                        {"equals-ignore-case": …}, {"wildcard": …}
//	{"exists": true}                        a value that is no object; false: there is none
//	{"cidr": "10.0.0.0/24"}                 an address in the block
package pattern
