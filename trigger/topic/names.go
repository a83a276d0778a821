package topic

import (
	"regexp"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

var (
	namePattern = regexp.MustCompile(`^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$`)
	wildPattern = regexp.MustCompile(`^([a-zA-Z0-9_-]+|\*\*?)(\.([a-zA-Z0-9_-]+|\*\*?))*$`)
)

// checkPattern returns an Invalid error where s cannot name topics.
func checkPattern(s string) error {
	if len(s) > 200 || !wildPattern.MatchString(s) {
		return mayfly.Errorf(mayfly.Invalid, "", "%q is not a topic; write parts of letters, digits, - and _ between dots, * for one part, ** for any number", s)
	}
	return nil
}

// matches reports whether a pattern names a topic.
func matches(pattern, topic string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == topic
	}
	return matchParts(strings.Split(pattern, "."), strings.Split(topic, "."))
}

func matchParts(pattern, topic []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(topic) + 1 {
				if matchParts(pattern[1:], topic[i:]) {
					return true
				}
			}
			return false
		}
		if len(topic) == 0 || pattern[0] != "*" && pattern[0] != topic[0] {
			return false
		}
		pattern, topic = pattern[1:], topic[1:]
	}
	return len(topic) == 0
}
