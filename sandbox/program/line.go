package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

var assignment = regexp.MustCompile(`^\s*[A-Za-z_][A-Za-z0-9_]*=`)

// Line is a command line as a manifest has it.
type Line struct {
	Words []string
	shell string // what sh runs, where the line needs one
}

// ParseLine parts a command line into words, as a shell does with quotes and
// backslashes. A line that uses more of the shell (variables, patterns, pipes,
// several commands) is left to sh, which makes way for the program where the
// line is one command, so that signals reach it.
func ParseLine(s string) (Line, error) {
	words, err := split(s)
	if err != nil || len(words) == 0 {
		if err == nil {
			err = errors.New("it is empty")
		}
		return Line{}, mayfly.Errorf(mayfly.Invalid, "", "the command line %q is not valid: %w", s, err)
	}
	bare := unquoted(s)
	switch {
	case strings.ContainsAny(bare, ";|&<>()`\n") || assignment.MatchString(s):
		return Line{Words: []string{"/bin/sh", "-c", s}, shell: s}, nil
	case strings.ContainsAny(bare, "$*?~[{#"):
		return Line{Words: []string{"/bin/sh", "-c", "exec " + s}, shell: s}, nil
	}
	return Line{Words: words}, nil
}

// split parts s at spaces outside of quotes.
func split(s string) ([]string, error) {
	var words []string
	var word []byte
	in, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && strings.IndexByte(" \t\n", c) >= 0:
			if in {
				words, word, in = append(words, string(word)), word[:0], false
			}
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if i++; i == len(s) {
				return nil, errors.New("it ends with a backslash")
			}
			if quote == '"' && strings.IndexByte("\"\\$`", s[i]) < 0 {
				word = append(word, '\\')
			}
			word, in = append(word, s[i]), true
		default:
			word, in = append(word, c), true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is not closed", quote)
	}
	if in {
		words = append(words, string(word))
	}
	return words, nil
}

// unquoted is what of s a shell would interpret: all but single-quoted and
// escaped text, and of double-quoted text the variables.
func unquoted(s string) string {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		case quote == 0, quote == '"' && (c == '$' || c == '`'):
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Find resolves the program of a line: a path inside a cell. root is the root
// folder of an image on this machine, "" for the machine's own; task the bundle
// on this machine, shown at /var/task, "" for none; dir the working folder
// inside; path the search path inside. A name without a slash is looked for in
// the bundle first. It returns a FunctionError where there is none.
func (l Line) Find(root, task, dir, path string) (string, error) {
	name := l.Words[0]
	if l.shell != "" && root == "" {
		return name, nil
	}
	if strings.Contains(name, "/") {
		inside := name
		if !filepath.IsAbs(name) {
			inside = filepath.Join(dir, name)
		}
		return inside, Executable(outside(root, task, inside), name)
	}
	places := filepath.SplitList(path)
	if task != "" {
		places = append([]string{"/var/task"}, places...)
	}
	for _, place := range places {
		inside := filepath.Join(place, name)
		st, err := os.Stat(outside(root, task, inside))
		if err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return inside, nil
		}
	}
	message := fmt.Sprintf("no program %q was found in %s", name, strings.Join(places, ":"))
	if task != "" {
		if st, err := os.Stat(filepath.Join(task, name)); err == nil && st.Mode().IsRegular() {
			message = fmt.Sprintf("%q is not executable; run: chmod +x %s", name, name)
		}
	}
	return "", &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler, Message: message}
}

// outside is where this machine has a path of a cell.
func outside(root, task, inside string) string {
	if rest, ok := strings.CutPrefix(inside, "/var/task/"); ok && task != "" {
		return filepath.Join(task, rest)
	}
	if root == "" {
		return inside
	}
	return within(root, inside)
}

// within resolves a path inside an image's root, whose absolute links point
// into the image.
func within(root, inside string) string {
	at := "/"
	rest := strings.Split(strings.Trim(filepath.Clean("/"+inside), "/"), "/")
	for hops := 0; len(rest) > 0 && hops < 255; hops++ {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		link, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			at = next
			continue
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(at, link)
		}
		rest = append(strings.Split(strings.Trim(filepath.Clean("/"+link), "/"), "/"), rest...)
		at = "/"
	}
	return filepath.Join(root, at, filepath.Join(rest...))
}
