package mcpmatrix

import (
	"fmt"
	"strings"
)

// class is what is wrong with a spelling, and so what must become of it.
type class int

const (
	harmless   class = iota + 1 // another spelling of the same
	duplicate                   // two members of one name
	twin                        // a name that some readers take for a known one
	nulName                     // the same for readers that stop at a NUL
	nulValue                    // the same in a value
	unreadable                  // no JSON text
	excessive                   // over a limit
	deep                        // over the limit of what is no free data
)

// mutation spells one member in another way.
type mutation struct {
	name  string
	class class
	spell func(n *node) (text string, ok bool)
}

// beside puts another member before the member.
func beside(name func(string) (string, bool)) func(*node) (string, bool) {
	return func(n *node) (string, bool) {
		other, ok := name(n.name)
		return pair(other, n.other()) + "," + pair(n.name, n.text(nil, "")), ok
	}
}

// behind puts another member after the member.
func behind(name func(string) (string, bool)) func(*node) (string, bool) {
	return func(n *node) (string, bool) {
		other, ok := name(n.name)
		return pair(n.name, n.text(nil, "")) + "," + pair(other, n.other()), ok
	}
}

// instead renames the member.
func instead(name func(string) (string, bool)) func(*node) (string, bool) {
	return func(n *node) (string, bool) {
		other, ok := name(n.name)
		return pair(other, n.text(nil, "")), ok
	}
}

// valued gives the member another value.
func valued(value func(n *node) (string, bool)) func(*node) (string, bool) {
	return func(n *node) (string, bool) {
		v, ok := value(n)
		return pair(n.name, v), ok
	}
}

// inString puts text into the member's value, if that is a string.
func inString(text string) func(*node) (string, bool) {
	return valued(func(n *node) (string, bool) {
		if !n.isString() {
			return "", false
		}
		return n.within(text), true
	})
}

func same(name string) (string, bool) { return name, true }

func upper(name string) (string, bool) { return changed(name, strings.ToUpper(name)) }

func title(name string) (string, bool) {
	i := strings.IndexFunc(name, func(r rune) bool { return r >= 'a' && r <= 'z' })
	if i < 0 {
		return name, false
	}
	return changed(name, name[:i]+strings.ToUpper(name[i:i+1])+name[i+1:])
}

// longS and kelvin are the letters outside of ASCII that fold to ASCII ones.
func longS(name string) (string, bool) { return changed(name, strings.Replace(name, "s", "\u017f", 1)) }
func kelvin(name string) (string, bool) {
	return changed(name, strings.Replace(name, "k", "\u212a", 1))
}

func changed(old, name string) (string, bool) { return name, old != name }

func escaped(name string) (string, bool) {
	return fmt.Sprintf(`\u%04x%s`, name[0], name[1:]), true
}

func ending(text string) func(string) (string, bool) {
	return func(name string) (string, bool) { return name + text, true }
}

// folds are the spellings that are one for a reader that folds case.
var folds = []struct {
	name  string
	spell func(string) (string, bool)
}{{"upper case", upper}, {"first letter upper case", title}, {"U+017F", longS}, {"U+212A", kelvin}}

// illegible is what no JSON string may hold.
var illegible = [][2]string{
	{"control byte", "\x01"}, {"line feed", "\n"}, {"NUL byte", "\x00"}, {"invalid UTF-8", "\xff"}, {"overlong slash", "\xc0\xaf"},
	{"surrogate in UTF-8", "\xed\xa0\x80"}, {"beyond Unicode", "\xf4\x90\x80\x80"}, {"lone high surrogate", `\ud800`},
	{"lone low surrogate", `\udc00`}, {"two high surrogates", `\ud800\ud800`}, {"unknown escape", `\x41`}, {"half an escape", `\u00`},
}

// mutations are the ways in which one member can be misspelled.
func mutations() []mutation {
	list := []mutation{
		{"duplicate before", duplicate, beside(same)},
		{"duplicate after", duplicate, behind(same)},
		{"duplicate in escapes before", duplicate, beside(escaped)},
		{"duplicate in escapes after", duplicate, behind(escaped)},
		{"key in escapes", harmless, instead(escaped)},
		{"value in escapes", harmless, valued(escapedValue)},
		{"spaces around", harmless, spaced},
		{"nul behind the key", nulName, beside(ending(`\u0000`))},
		{"nul and more behind the key", nulName, behind(ending(`\u0000x`))},
		{"nul in the value", nulValue, inString(`\u0000`)},
		{"number of 65 digits", excessive, valued(constant(strings.Repeat("1", 65)))},
		{"exponent of 65 digits", excessive, valued(constant("1e" + strings.Repeat("0", 63)))},
		{"arrays 600 deep", excessive, valued(constant(strings.Repeat("[", 600) + strings.Repeat("]", 600)))},
		{"objects 600 deep", excessive, valued(constant(strings.Repeat(`{"a":`, 600) + "1" + strings.Repeat("}", 600)))},
		{"arrays 100 deep", deep, deepValue},
		{"10001 members", excessive, valued(crowd)},
		{"key of 2 KiB", excessive, beside(ending(strings.Repeat("x", 2<<10)))},
		{"not a number", unreadable, valued(constant("NaN"))},
		{"leading zero", unreadable, valued(constant("01"))},
		{"single quotes", unreadable, valued(constant("'x'"))},
		{"comment", unreadable, valued(func(n *node) (string, bool) { return "/**/" + n.text(nil, ""), true })},
		{"trailing comma", unreadable, valued(func(n *node) (string, bool) {
			return strings.TrimSuffix(n.text(nil, ""), "}") + ",}", n.kids != nil && !n.array
		})},
	}
	for _, fold := range folds {
		list = append(list, mutation{fold.name + " before", twin, beside(fold.spell)}, mutation{fold.name + " after", twin, behind(fold.spell)},
			mutation{fold.name + " only", twin, instead(fold.spell)})
	}
	for _, text := range illegible {
		list = append(list, mutation{text[0] + " in the key", unreadable, beside(ending(text[1]))},
			mutation{text[0] + " in the value", unreadable, inString(text[1])})
	}
	return list
}

func deepValue(n *node) (string, bool) {
	value := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	return pair(n.name, value), n.raw != "" && n.means == opaque && (n.place == free || n.place == parameter)
}

func constant(text string) func(*node) (string, bool) {
	return func(*node) (string, bool) { return text, true }
}

func escapedValue(n *node) (string, bool) {
	if !n.isString() || len(n.raw) < 3 {
		return "", false
	}
	return fmt.Sprintf(`"\u%04x%s`, n.raw[1], n.raw[2:]), true
}

func spaced(n *node) (string, bool) {
	return " \"" + n.name + "\"\t: \r\n" + n.text(nil, "") + " \n", true
}

// crowd fills an object beyond the limit.
func crowd(n *node) (string, bool) {
	if n.kids == nil || n.array {
		return "", false
	}
	var b strings.Builder
	b.WriteString("{")
	for i := range 10_001 {
		fmt.Fprintf(&b, `"m%d":0,`, i)
	}
	return b.String() + strings.TrimPrefix(n.text(nil, ""), "{"), len(n.kids) > 0
}
