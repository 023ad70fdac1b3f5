package conformance_test

import (
	"regexp"
	"slices"
	"strings"
)

// volatile replaces what is different in every run even without a waypoint, each by its kind.
var volatile = []struct {
	pattern *regexp.Regexp
	kind    string
}{
	{regexp.MustCompile(`(localhost|127\.0\.0\.1)(:|%3A)\d{2,5}`), "$1$2<port>"},
	{regexp.MustCompile(`\bey[\w-]+\.ey[\w-]+\.[\w-]+`), "<jwt>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`\b[A-Z2-7]{26}\b`), "<random>"}, // crypto/rand.Text: sessions and states of the Go SDK
	{regexp.MustCompile(`\btest-token-(as2-)?1[0-9]{3}(\.\.\.|[0-9]{9}\b)`), "test-token-$1<milliseconds>"},
	{regexp.MustCompile(`\b1[0-9]{12}\b`), "<milliseconds>"},
	{regexp.MustCompile(`(plaintext resource|blob) created at [^"\\]*`), "$1 created at <time>"},
	{regexp.MustCompile(`"UmVzb3VyY2Ug[\w+/]*=*"`), `"<Resource …, in base64>"`}, // as above
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "<time>"},
}

// random names the members whose values are drawn anew in every run and have no form to tell them by.
var random = []string{
	"code_challenge", "code_verifier", "storedChallenge", "computedChallenge", "etag", "date", "actualDelayMs",
}

// sets names the members whose words the Go SDK's client puts in the order of a map.
var sets = []string{"scope", "scopes", "requestedScope"}

func steadyText(s string) string {
	for _, v := range volatile {
		s = v.pattern.ReplaceAllString(s, v.kind)
	}
	return s
}

// steady replaces what is volatile in a JSON value that is the member called name.
func steady(name string, v any) any {
	if slices.Contains(random, name) {
		return "<" + name + ">"
	}
	switch v := v.(type) {
	case string:
		if slices.Contains(sets, name) {
			words := strings.Fields(v)
			slices.Sort(words)
			return strings.Join(words, " ")
		}
		return steadyText(v)
	case float64:
		if v > 1e12 && v < 2e12 {
			return "<milliseconds>"
		}
	case []any:
		return steadyElements(name, v)
	case map[string]any:
		for k := range v {
			v[k] = steady(k, v[k])
		}
	}
	return v
}

func steadyElements(name string, list []any) any {
	for i := range list {
		list[i] = steady(name, list[i])
	}
	if slices.Contains(sets, name) {
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	}
	return list
}
