//! The chat template that a GGUF file carries, rendered as its makers render it.
//!
//! In: turns. Out: the prompt, with the names of special tokens in it, for
//! [`encode_prompt`](crate::Tokenizer::encode_prompt). Templates are Jinja written for Python: minijinja runs them,
//! with Python's string and dictionary methods, and with the settings that transformers uses (`trim_blocks`,
//! `lstrip_blocks`).

use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;

use crate::gguf::Metadata;
use crate::tokenizer::Tokenizer;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Why a prompt could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChatTemplateError {
    /// The file has none: a base model, which continues text and does not answer.
    #[error("the model has no chat template; choose one that was trained to answer (\"instruct\")")]
    Missing,
    /// The template refused the conversation or uses something that is not known here.
    #[error("the model's chat template cannot be used: {0:#}")]
    Template(#[from] Error),
}

/// A model's chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: Option<String>,
    beginning_of_text: String,
    end_of_text: String,
}

impl ChatTemplate {
    pub(crate) fn of(metadata: &Metadata, tokenizer: &Tokenizer) -> Self {
        let special = |key: &str| {
            let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"));
            let name = id.and_then(|id| tokenizer.special_name(id as u32));
            name.unwrap_or_default().to_owned()
        };
        let source = metadata.string("tokenizer.chat_template");
        Self::new(source, special("bos"), special("eos"))
    }

    fn new(source: Option<&str>, beginning_of_text: String, end_of_text: String) -> Self {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", |message: String| {
            Err::<String, _>(Error::new(ErrorKind::InvalidOperation, message))
        });
        Self {
            environment,
            source: source.map(str::to_owned),
            beginning_of_text,
            end_of_text,
        }
    }

    /// The prompt for a conversation; with `add_generation_prompt` it ends where the model's answer begins. Models
    /// that can think before they answer are asked not to (`enable_thinking`).
    pub fn render(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, ChatTemplateError> {
        let source = self.source.as_deref().ok_or(ChatTemplateError::Missing)?;
        let template = self.environment.template_from_str(source)?;
        Ok(template.render(context! {
            messages,
            add_generation_prompt,
            enable_thinking => false,
            bos_token => self.beginning_of_text,
            eos_token => self.end_of_text,
        })?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn turns(turns: &[(Role, &str)]) -> Vec<ChatMessage> {
        turns
            .iter()
            .map(|&(role, content)| ChatMessage {
                role,
                content: content.to_owned(),
            })
            .collect()
    }

    #[test]
    fn renders_as_python_does() {
        let source = "{{ bos_token }}{% for m in messages[::-1] %}\n    {%- if m['role'] == 'user' %}\n\
            [{{ m.content.strip().split(' ')[-1] }}]\n    {%- endif %}\n{% endfor %}\n\
            {%- if add_generation_prompt %}>{% endif %}";
        let template = ChatTemplate::new(Some(source), "<s>".to_owned(), String::new());
        let turns = turns(&[
            (Role::User, " a b "),
            (Role::Assistant, "c"),
            (Role::User, "d"),
        ]);
        assert_eq!(template.render(&turns, true).unwrap(), "<s>[d][b]>");
    }

    #[test]
    fn a_refusal_of_the_template_is_an_error_with_its_words() {
        let source = "{{ raise_exception('roles must alternate') }}";
        let template = ChatTemplate::new(Some(source), String::new(), String::new());
        let error = template.render(&[], true).unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
    }

    #[test]
    fn a_model_without_a_template_says_so() {
        let template = ChatTemplate::new(None, String::new(), String::new());
        let error = template.render(&[], true).unwrap_err();
        assert!(matches!(error, ChatTemplateError::Missing));
    }
}
