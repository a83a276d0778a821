package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// ignoreFile lists what a bundle leaves out, in gitignore's syntax, at the top
// of a source folder.
const ignoreFile = ".mayflyignore"

// neverPacked is no part of any bundle, and no input of a build: version
// control, the platform's own state and what machines litter.
var neverPacked = []string{
	".git/", ".hg/", ".svn/", ".jj/", ".mayfly/", ".DS_Store", "__pycache__/", "*.py[co]",
	".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".idea/", ".vscode/",
	"/.venv/bin/", "/venv/bin/", // links to this machine's interpreter
}

// notBundled is left out of bundles, but builds see it.
var notBundled = []string{"/" + ignoreFile, "/mayfly.yaml", "/mayfly.yml", ".gitignore", ".dockerignore"}

// rule is one line of gitignore syntax.
type rule struct {
	match   *regexp.Regexp
	keep    bool // "!": what an earlier line left out comes back
	dirOnly bool
}

// ignore decides what of a tree is left out. The last rule that fits wins, as
// in git.
type ignore []rule

func newIgnore(lines ...string) (ignore, error) {
	var rules ignore
	for i, line := range lines {
		r, err := parseRule(line)
		if err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "", "line %d of %s: %q is not a pattern", i+1, ignoreFile, line)
		}
		if r.match != nil {
			rules = append(rules, r)
		}
	}
	return rules, nil
}

func mustIgnore(lines ...string) ignore {
	rules, err := newIgnore(lines...)
	if err != nil {
		panic(err)
	}
	return rules
}

// ignoreIn are the rules of a source folder's own file.
func ignoreIn(dir string) (ignore, error) {
	data, err := os.ReadFile(filepath.Join(dir, ignoreFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ignoreFile, err)
	}
	return newIgnore(strings.Split(string(data), "\n")...)
}

// skips reports whether the file or folder at path (with slashes, relative) is
// left out. What is in a folder that is left out is never asked for.
func (ig ignore) skips(path string, dir bool) bool {
	skip := false
	for _, r := range ig {
		if skip == r.keep && (dir || !r.dirOnly) && r.match.MatchString(path) {
			skip = !r.keep
		}
	}
	return skip
}

func parseRule(line string) (rule, error) {
	line = strings.TrimSuffix(line, "\r")
	if strings.HasPrefix(line, "#") {
		return rule{}, nil
	}
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = strings.TrimSuffix(line, " ")
	}
	var r rule
	line, r.keep = strings.CutPrefix(line, "!")
	line, r.dirOnly = strings.CutSuffix(line, "/")
	if line == "" {
		return rule{}, nil
	}
	anchored := strings.Contains(line, "/")
	expr, err := translate(strings.TrimPrefix(line, "/"))
	if err != nil {
		return rule{}, err
	}
	if !anchored {
		expr = "(?:.*/)?" + expr
	}
	r.match, err = regexp.Compile("^" + expr + "$")
	return r, err
}

// translate is a gitignore pattern as a regular expression.
func translate(p string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		rest := p[i:]
		switch {
		case strings.HasPrefix(rest, "**/") && (i == 0 || p[i-1] == '/'):
			b.WriteString("(?:.*/)?")
			i += 2
		case rest == "**" && i > 0 && p[i-1] == '/':
			b.WriteString(".+")
			i++
		case p[i] == '*':
			b.WriteString("[^/]*")
		case p[i] == '?':
			b.WriteString("[^/]")
		case p[i] == '[':
			class, n, err := characterClass(rest)
			if err != nil {
				return "", err
			}
			b.WriteString(class)
			i += n - 1
		case p[i] == '\\' && i+1 < len(p):
			i++
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		}
	}
	return b.String(), nil
}

// characterClass is "[…]" at the start of p as a regular expression's, and its
// length.
func characterClass(p string) (string, int, error) {
	end := -1
	if len(p) > 2 {
		end = strings.IndexByte(p[2:], ']') // "]" right after "[" is a letter of it
	}
	if end < 0 {
		return "", 0, errors.New("a [ without ]")
	}
	body := p[1 : end+2]
	if strings.HasPrefix(body, "!") {
		body = "^" + body[1:]
	}
	return "[" + strings.ReplaceAll(body, `[`, `\[`) + "]", end + 3, nil
}
