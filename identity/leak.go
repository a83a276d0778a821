package identity

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// Leak is a credential found in a file.
type Leak struct {
	File string `json:"file"`
	Line int    `json:"line"`
	What string `json:"what"`
	Hint string `json:"hint"` // the beginning of it
}

// Place is the file, with the line where it is one that matters.
func (l Leak) Place() string {
	if l.Line == 0 {
		return l.File
	}
	return fmt.Sprint(l.File, ":", l.Line)
}

// leaks are forms of credentials that are recognisable by themselves. Each is
// documented by whoever issues it; guesses by randomness are left out, since a
// scan that cries wolf is switched off.
var leaks = []struct {
	what string
	re   *regexp.Regexp
}{
	{"AWS access key", regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`)},
	{"AWS secret key", regexp.MustCompile(`(?i)aws_secret_access_key["']?\s*[:=]\s*["']?[A-Za-z0-9/+]{40}\b`)},
	{"GitHub token", regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})\b`)},
	{"GitLab token", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`)},
	{"Slack token", regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`)},
	{"Slack webhook", regexp.MustCompile(`https://hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{20,}`)},
	{"Stripe key", regexp.MustCompile(`\b[rs]k_live_[A-Za-z0-9]{16,}`)},
	{"Google API key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}\b`)},
	{"npm token", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`)},
	{"PyPI token", regexp.MustCompile(`\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}`)},
	{"Anthropic or OpenAI key", regexp.MustCompile(`\bsk-(?:ant-|proj-)[A-Za-z0-9_-]{32,}`)},
	{"OpenAI key", regexp.MustCompile(`\bsk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}\b`)},
	{"Hugging Face token", regexp.MustCompile(`\bhf_[A-Za-z0-9]{34}\b`)},
	{"DigitalOcean token", regexp.MustCompile(`\bdo[opr]_v1_[a-f0-9]{64}\b`)},
	{"Azure storage key", regexp.MustCompile(`\bAccountKey=[A-Za-z0-9+/]{86}==`)},
	{"Shopify token", regexp.MustCompile(`\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b`)},
	{"Docker token", regexp.MustCompile(`\bdckr_pat_[A-Za-z0-9_-]{27}`)},
	{"age key", regexp.MustCompile(`\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b`)},
	{"SendGrid key", regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b`)},
	{"password in a URL", regexp.MustCompile(`\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|amqps?|rediss?)://[^\s:@/"']+:[^\s:@/"'$<{]{4,}@[A-Za-z0-9.-]+\.[a-z]{2,}`)},
	{"Mayfly token", regexp.MustCompile(`\bmayfly_[A-Za-z0-9_-]{43}\b`)},
}

// What a private key begins with, and what follows in one: on the same line, where
// its ends are written \n, or on the next. Code that looks for keys has the first
// only.
var (
	keyHead = regexp.MustCompile(`-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----`)
	keyBody = regexp.MustCompile(`^(?:\\r|\\n|["'\s+])*(?:[A-Za-z0-9+/=]{16,}|Proc-Type:|Version:|Comment:)`)
)

// placeholder is what stands for a credential in documents and examples: the
// word, as in Amazon's, one letter over and over, or a password that is none.
var placeholder = regexp.MustCompile(`(?i)EXAMPLE(?:KEY)?["']?$|x{8}|0{12}|\*{4}|:(?:password|passwd|pass|secret|changeme|example|your[-_]?password)@`)

// maxScan is how much of a file is read: a credential is not at the end of a
// picture.
const maxScan = 4 << 20

// Scan looks for credentials in the files of a bundle. Folders of installed
// packages are left out: they are full of examples in tests.
func Scan(fsys fs.FS) ([]Leak, error) {
	var found []Leak
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "node_modules" || e.Name() == "site-packages" || e.Name() == ".git" || e.Name() == ".mayfly"):
			return fs.SkipDir
		case e.IsDir() && isVenv(fsys, name):
			return fs.SkipDir
		case !e.Type().IsRegular():
			return nil
		}
		more, err := scanFile(fsys, name)
		found = append(found, more...)
		return err
	})
	if err != nil {
		return found, fmt.Errorf("scan for secrets: %w", err)
	}
	return found, nil
}

// isVenv reports whether a folder is a virtual environment of Python.
func isVenv(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, path.Join(name, "pyvenv.cfg"))
	return err == nil
}

func scanFile(fsys fs.FS, name string) (found []Leak, err error) {
	if base := path.Base(name); base == ".env" || strings.HasPrefix(base, ".env.") && base != ".env.example" {
		found = append(found, Leak{File: name, What: "file of variables", Hint: "use env: for plain values and secrets: for the others"})
	}
	f, err := fsys.Open(name)
	if err != nil {
		return found, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), maxScan)
	read, head := 0, false // the line before began a key
	for n := 1; lines.Scan() && read < maxScan; n++ {
		line := lines.Bytes()
		read += len(line)
		if head && keyBody.Match(line) {
			found = append(found, Leak{File: name, Line: n - 1, What: "private key", Hint: "-----BEG…"})
		}
		head = false
		if at := keyHead.FindIndex(line); at != nil {
			if head = len(strings.TrimSpace(string(line[at[1]:]))) == 0; !head && keyBody.Match(line[at[1]:]) {
				found = append(found, Leak{File: name, Line: n, What: "private key", Hint: "-----BEG…"})
			}
		}
		for _, l := range leaks {
			for _, at := range l.re.FindAllIndex(line, -1) {
				if placeholder.Match(line[at[0]:at[1]]) {
					continue
				}
				found = append(found, Leak{File: name, Line: n, What: l.what, Hint: string(line[at[0]:min(at[0]+8, at[1])]) + "…"})
				break
			}
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) { // a longer line is no text
		return found, err
	}
	return found, nil
}
