package maeari.standin;

import static java.util.Map.entry;
import static org.elasticsearch.index.analysis.Analysis.getWordList;

import java.io.IOException;
import java.io.StringReader;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.charfilter.MappingCharFilter;
import org.apache.lucene.analysis.charfilter.NormalizeCharMap;
import org.apache.lucene.analysis.cjk.CJKBigramFilter;
import org.apache.lucene.analysis.cjk.CJKWidthFilter;
import org.apache.lucene.analysis.core.LowerCaseFilter;
import org.apache.lucene.analysis.core.WhitespaceTokenizer;
import org.apache.lucene.analysis.en.EnglishPossessiveFilter;
import org.apache.lucene.analysis.en.KStemFilter;
import org.apache.lucene.analysis.en.PorterStemFilter;
import org.apache.lucene.analysis.ko.KoreanPartOfSpeechStopFilter;
import org.apache.lucene.analysis.ko.KoreanTokenizer;
import org.apache.lucene.analysis.ko.POS;
import org.apache.lucene.analysis.ko.dict.UserDictionary;
import org.apache.lucene.analysis.miscellaneous.ASCIIFoldingFilter;
import org.apache.lucene.analysis.ngram.EdgeNGramTokenFilter;
import org.apache.lucene.analysis.ngram.NGramTokenizer;
import org.apache.lucene.analysis.pattern.PatternReplaceCharFilter;
import org.apache.lucene.analysis.snowball.SnowballFilter;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.index.analysis.CharFilterFactory;
import org.elasticsearch.index.analysis.NormalizingCharFilterFactory;
import org.elasticsearch.index.analysis.NormalizingTokenFilterFactory;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.tartarus.snowball.ext.EnglishStemmer;

/** Lucene's own filters under the names and settings that Elasticsearch documents for them. */
final class Analysis {
    private Analysis() {}

    /** Reads the settings once, then wraps every stream of tokens. */
    private interface Filter {
        UnaryOperator<TokenStream> read(Settings settings, Environment environment) throws IOException;
    }

    static Map<String, AnalysisProvider<TokenFilterFactory>> tokenFilters() {
        return Map.ofEntries(
            entry("lowercase", normalizing((settings, environment) -> LowerCaseFilter::new)),
            entry("cjk_width", normalizing((settings, environment) -> CJKWidthFilter::new)),
            entry("asciifolding", normalizing(Analysis::asciiFolding)),
            entry("cjk_bigram", filter(Analysis::cjkBigram)),
            entry("porter_stem", filter((settings, environment) -> PorterStemFilter::new)),
            entry("stemmer", filter(Analysis::stemmer)),
            entry("edge_ngram", filter(Analysis::edgeNGram)),
            entry("nori_part_of_speech", filter(Analysis::noriPartOfSpeech)));
    }

    static Map<String, AnalysisProvider<TokenizerFactory>> tokenizers() {
        return Map.of(
            "ngram", (index, environment, name, settings) -> nGram(name, settings),
            "nori_tokenizer", (index, environment, name, settings) -> nori(name, settings, environment),
            "whitespace", (index, environment, name, settings) -> {
                int longest = settings.getAsInt("max_token_length", WhitespaceTokenizer.DEFAULT_MAX_WORD_LEN);
                return TokenizerFactory.newFactory(name, () -> new WhitespaceTokenizer(longest));
            });
    }

    static Map<String, AnalysisProvider<CharFilterFactory>> charFilters() {
        return Map.of(
            "mapping", AnalysisPlugin.requiresAnalysisSettings(Analysis::mapping),
            "pattern_replace", AnalysisPlugin.requiresAnalysisSettings(Analysis::patternReplace));
    }

    private static UnaryOperator<TokenStream> asciiFolding(Settings settings, Environment environment) {
        boolean keep = settings.getAsBoolean("preserve_original", false);
        return tokens -> new ASCIIFoldingFilter(tokens, keep);
    }

    private static UnaryOperator<TokenStream> cjkBigram(Settings settings, Environment environment) {
        var scripts = Map.of(
            "han", CJKBigramFilter.HAN,
            "hiragana", CJKBigramFilter.HIRAGANA,
            "katakana", CJKBigramFilter.KATAKANA,
            "hangul", CJKBigramFilter.HANGUL);
        List<String> ignored = settings.getAsList("ignored_scripts");
        for (String script : ignored) {
            require(scripts.containsKey(script), "unknown script [" + script + "]");
        }
        int flags = scripts.entrySet().stream()
            .filter(script -> !ignored.contains(script.getKey()))
            .mapToInt(Map.Entry::getValue)
            .sum();
        boolean unigrams = settings.getAsBoolean("output_unigrams", false);
        // Without a script there is nothing to pair; the filter itself takes 0 for "all of them".
        return tokens -> flags == 0 ? tokens : new CJKBigramFilter(tokens, flags, unigrams);
    }

    private static UnaryOperator<TokenStream> stemmer(Settings settings, Environment environment) {
        String language = settings.get("language", settings.get("name", "english"));
        return switch (language.toLowerCase(Locale.ROOT)) {
            case "english", "porter" -> PorterStemFilter::new;
            case "porter2" -> tokens -> new SnowballFilter(tokens, new EnglishStemmer());
            case "light_english", "kstem" -> KStemFilter::new;
            case "possessive_english" -> EnglishPossessiveFilter::new;
            default -> throw new IllegalArgumentException("the stand-in has no stemmer for [" + language + "]");
        };
    }

    private static UnaryOperator<TokenStream> edgeNGram(Settings settings, Environment environment) {
        int shortest = settings.getAsInt("min_gram", 1);
        int longest = settings.getAsInt("max_gram", 2);
        boolean keep = settings.getAsBoolean("preserve_original", false);
        require(settings.get("side", "front").equals("front"), "the stand-in knows the side [front] only");
        return tokens -> new EdgeNGramTokenFilter(tokens, shortest, longest, keep);
    }

    private static UnaryOperator<TokenStream> noriPartOfSpeech(Settings settings, Environment environment) {
        List<String> tags = getWordList(environment, settings, "stoptags");
        if (tags == null) {
            return KoreanPartOfSpeechStopFilter::new;
        }
        Set<POS.Tag> stopped = EnumSet.noneOf(POS.Tag.class);
        tags.forEach(tag -> stopped.add(POS.resolveTag(tag)));
        return tokens -> new KoreanPartOfSpeechStopFilter(tokens, stopped);
    }

    private static TokenizerFactory nGram(String name, Settings settings) {
        int shortest = settings.getAsInt("min_gram", 1);
        int longest = settings.getAsInt("max_gram", 2);
        List<String> kinds = settings.getAsList("token_chars");
        require(Set.of("letter", "digit").containsAll(kinds), "the stand-in knows [letter] and [digit] only");
        return TokenizerFactory.newFactory(name, () -> new NGramTokenizer(shortest, longest) {
            @Override
            protected boolean isTokenChar(int character) {
                return kinds.isEmpty()
                    || (kinds.contains("letter") && Character.isLetter(character))
                    || (kinds.contains("digit") && Character.isDigit(character));
            }
        });
    }

    private static TokenizerFactory nori(String name, Settings settings, Environment environment) throws IOException {
        String named = settings.get("decompound_mode", KoreanTokenizer.DEFAULT_DECOMPOUND.name());
        var mode = KoreanTokenizer.DecompoundMode.valueOf(named.toUpperCase(Locale.ROOT));
        boolean discardPunctuation = settings.getAsBoolean("discard_punctuation", true);
        List<String> rules = getWordList(environment, settings, "user_dictionary", "user_dictionary_rules", false);
        UserDictionary words = rules == null ? null : UserDictionary.open(new StringReader(String.join("\n", rules)));
        return TokenizerFactory.newFactory(name, () -> new KoreanTokenizer(
            KoreanTokenizer.DEFAULT_TOKEN_ATTRIBUTE_FACTORY, words, mode, false, discardPunctuation));
    }

    private static CharFilterFactory mapping(
            org.elasticsearch.index.IndexSettings index, Environment environment, String name, Settings settings) {
        List<String> rules = getWordList(environment, settings, "mappings");
        require(rules != null, "[mappings] or [mappings_path] is missing");
        var pairs = new NormalizeCharMap.Builder();
        for (String rule : rules) {
            int arrow = rule.lastIndexOf("=>");
            require(arrow > 0, "a rule reads [from => to], not [" + rule + "]");
            require(rule.indexOf('\\') < 0, "the stand-in knows no escapes in [" + rule + "]");
            pairs.add(rule.substring(0, arrow).trim(), rule.substring(arrow + 2).trim());
        }
        NormalizeCharMap map = pairs.build();
        return new NormalizingCharFilterFactory() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public java.io.Reader create(java.io.Reader text) {
                return new MappingCharFilter(map, text);
            }
        };
    }

    private static CharFilterFactory patternReplace(
            org.elasticsearch.index.IndexSettings index, Environment environment, String name, Settings settings) {
        String expression = settings.get("pattern");
        require(expression != null && !expression.isEmpty(), "[pattern] is missing");
        require(settings.get("flags") == null, "the stand-in knows no [flags]");
        Pattern pattern = Pattern.compile(expression);
        String replacement = settings.get("replacement", "");
        return new NormalizingCharFilterFactory() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public java.io.Reader create(java.io.Reader text) {
                return new PatternReplaceCharFilter(pattern, replacement, text);
            }
        };
    }

    private static AnalysisProvider<TokenFilterFactory> filter(Filter filter) {
        return (index, environment, name, settings) -> {
            var wrap = filter.read(settings, environment);
            return new TokenFilterFactory() {
                @Override
                public String name() {
                    return name;
                }

                @Override
                public TokenStream create(TokenStream tokens) {
                    return wrap.apply(tokens);
                }
            };
        };
    }

    /** A filter that leaves one token one token, and so may serve keyword fields' normalizers. */
    private static AnalysisProvider<TokenFilterFactory> normalizing(Filter filter) {
        return (index, environment, name, settings) -> {
            var wrap = filter.read(settings, environment);
            return new NormalizingTokenFilterFactory() {
                @Override
                public String name() {
                    return name;
                }

                @Override
                public TokenStream create(TokenStream tokens) {
                    return wrap.apply(tokens);
                }
            };
        };
    }

    private static void require(boolean holds, String message) {
        if (!holds) {
            throw new IllegalArgumentException(message);
        }
    }
}
