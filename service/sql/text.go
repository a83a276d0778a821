package sql

import "strings"

// token kinds of sqlite3_complete's grammar.
const (
	tokSemi = iota
	tokSpace
	tokOther
	tokExplain
	tokCreate
	tokTemp
	tokTrigger
	tokEnd
)

// next is the state machine of sqlite3_complete(): where a statement ends, with
// the bodies of triggers. https://sqlite.org/src/file/src/complete.c
var next = [8][8]byte{
	{1, 0, 2, 3, 4, 2, 2, 2}, // 0 invalid
	{1, 1, 2, 3, 4, 2, 2, 2}, // 1 start
	{1, 2, 2, 2, 2, 2, 2, 2}, // 2 normal
	{1, 3, 3, 2, 4, 2, 2, 2}, // 3 explain
	{1, 4, 2, 2, 2, 4, 5, 2}, // 4 create
	{6, 5, 5, 5, 5, 5, 5, 5}, // 5 trigger
	{6, 6, 5, 5, 5, 5, 5, 7}, // 6 semi
	{1, 7, 5, 5, 5, 5, 5, 5}, // 7 end
}

// split cuts SQL text into its statements, without those that are empty. It is
// for clients' comfort: the authorizer is the wall.
func split(text string) (statements []string) {
	state, start := byte(1), 0
	blank := true
	for i := 0; i < len(text); {
		kind, size := token(text[i:])
		i += size
		if kind != tokSpace && kind != tokSemi {
			blank = false
		}
		if state = next[state][kind]; state == 1 && kind == tokSemi {
			if !blank {
				statements = append(statements, strings.TrimSpace(text[start:i]))
			}
			start, blank = i, true
		}
	}
	if !blank {
		statements = append(statements, strings.TrimSpace(text[start:]))
	}
	return statements
}

// token is the kind and the length of the first token of text.
func token(text string) (kind, size int) {
	switch c := text[0]; {
	case c == ';':
		return tokSemi, 1
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
		return tokSpace, 1
	case strings.HasPrefix(text, "--"):
		return tokSpace, until(text, "\n", 2)
	case strings.HasPrefix(text, "/*"):
		return tokSpace, until(text, "*/", 2)
	case c == '\'' || c == '"' || c == '`':
		return tokOther, until(text, string(c), 1) // a doubled quote begins the next token
	case c == '[':
		return tokOther, until(text, "]", 1)
	case !letter(c):
		return tokOther, 1
	}
	for size = 1; size < len(text) && letter(text[size]); size++ {
	}
	switch strings.ToUpper(text[:size]) {
	case "EXPLAIN":
		kind = tokExplain
	case "CREATE":
		kind = tokCreate
	case "TEMP", "TEMPORARY":
		kind = tokTemp
	case "TRIGGER":
		kind = tokTrigger
	case "END":
		kind = tokEnd
	default:
		kind = tokOther
	}
	return kind, size
}

func until(text, end string, from int) int {
	if i := strings.Index(text[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(text)
}

func letter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

// words is the first n words of a statement in upper case, without comments.
func words(text string, n int) (out []string) {
	for i := 0; i < len(text) && len(out) < n; {
		kind, size := token(text[i:])
		if kind != tokSpace {
			out = append(out, strings.ToUpper(text[i:i+size]))
		}
		i += size
	}
	return out
}

// verb is what a statement begins with.
func verb(text string) string {
	if w := words(text, 1); len(w) > 0 {
		return w[0]
	}
	return ""
}
