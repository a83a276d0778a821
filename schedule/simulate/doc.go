// Package simulate replays a trace of calls through the code that decides in
// production how long instances are held (package schedule), and says what it
// would have cost and saved beside fixed keep-alive times.
//
// Terms:
//
//	trace    when each function was called: measured, or synthetic
//	policy   what decides how long an idle instance stays
//	cold     a call that found no instance
//	idle     GB·s of memory held by instances while no call ran
//	oracle   knows when each function is called next, and holds an instance until
//	         then where that takes the least memory, as long as it spends no more
//	         than a fixed ten minutes. It starts nothing ahead, so that a policy
//	         that foresees a call may do better.
//
// The model: one instance serves a function, however many calls overlap, and is
// started in no time; calls of per-minute traces take no time either. Waiting,
// starting and scaling are the matter of package schedule's Load, which this
// simulator does not measure.
package simulate
