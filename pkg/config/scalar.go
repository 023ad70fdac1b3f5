package config

import (
	"encoding/json/jsontext"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Plain scalars which every YAML reader takes for a number, and which are JSON numbers as they stand. Whole numbers have
// at most 15 digits: beyond 2^53, readers that keep numbers as floats change them.
var number = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,14}|-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+][0-9]+)?)$`)

// Plain scalars which some YAML reader, 1.1 or 1.2, takes for something else than text: booleans, numbers in other bases
// or with underscores, sexagesimal numbers, infinities, dates, the merge and default keys. Kubernetes' tools and ours
// could disagree about these, so they have to be quoted, or written as plain decimal numbers.
var ambiguous = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|<<|=|` +
	`[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-f_]+)|` +
	`[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|` +
	`[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)(e[-+]?[0-9]+)?|` +
	`[-+]?\.inf|\.nan|` +
	`[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t \t].*)?)$`)

const styleQuoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// scalar renders a scalar as JSON by the core schema of YAML 1.2, or says why it has no single reading.
func scalar(n *yaml.Node) (jsontext.Value, string) {
	if n.Style&styleQuoted != 0 {
		return quote(n.Value)
	}
	switch v := n.Value; {
	case v == "" || v == "~" || strings.EqualFold(v, "null"):
		return nil, "has no value: give one or leave the field out"
	case v == "true" || v == "false":
		return jsontext.Value(v), ""
	case strings.EqualFold(v, "true") || strings.EqualFold(v, "false"):
		return nil, v + " must be written in lower case, or in quotes if it is text"
	case number.MatchString(v):
		return jsontext.Value(v), ""
	case ambiguous.MatchString(v):
		return nil, v + " is not the same to all YAML readers: write a plain number of at most 15 digits, or quotes"
	default:
		return quote(v)
	}
}

func quote(s string) (jsontext.Value, string) {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return nil, "is not valid UTF-8"
	}
	return b, ""
}
