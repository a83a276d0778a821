// Package telemetry keeps what calls leave behind: the record of each
// invocation, the spans of its trace and the lines it printed, and answers
// questions about them.
//
// Terms:
//
//	record   a mayfly.Invocation; one for every call, never sampled
//	span     a finished piece of work in a trace; sampled by trace when there
//	         are too many, with errors, slow and cold calls kept
//	line     a mayfly.LogLine; a stack trace of several lines is one line
//	table    one kind of the three on disk: an active file and sealed segments
//	block    some rows of a table, by column and compressed, with a filter of
//	         their ids; a file is a sequence of blocks
//	shed     rows that were given up because the store was behind; counted,
//	         shown in Health and said in the logs
//
// How a row travels:
//
//	Invocation, Span, Log ──▶ intake (sharded, bounded) ──▶ Run: lift, join,
//	  never block, never fail                                limit, sample
//	                                                           │
//	            Logs, Trace, Tail … ◀── pending rows ◀──────────┤
//	                      ▲                                    ▼ each 250 ms
//	                      └──────────────── blocks appended to the table's file
//
// A killed process loses at most the rows of its last second. Nothing is synced
// to the disk while running, so a machine that loses power may lose more.
package telemetry
